from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from experiments import leave_one_out
from experiments.common.convex import rows, train
from experiments.common.inverse_products import ExampleCurvature, by_lissa
from experiments.common.mnist import load_digits
from influence import SoftmaxCrossEntropy
from influence.curvature import GaussNewton, Regularisation
from influence.problem import TensorData

SMALL = {"removed": 12, "together": 5, "random_train": 20, "random_test": 4, "lissa_depth": 150, "lissa_repeats": 2}


def test_prediction_agrees_with_retraining_and_newton_agrees_better(
    clothing: Callable[..., Path], measured: Callable[..., dict[str, Any]]
) -> None:
    root = clothing(train=500, test=60)
    metrics = measured(leave_one_out, root, weight_decay=0.05, test_point=4, **SMALL)
    assert metrics["pearson_newton"] > 0.9999 and metrics["rel_error_newton"] < 0.01
    assert metrics["rel_error_newton"] < 0.2 * metrics["rel_error_exact"] < 0.2 * metrics["rel_error_lissa"]
    assert metrics["random_points_rel_error_newton"] < 0.6 * metrics["random_points_rel_error"]
    assert metrics["retrain_gradient_norm"] <= 1e-10
    assert 0.01 < metrics["lissa_error"] < 1.0 and metrics["lissa_residual"] > 0.01
    passes = metrics["conjugate_gradient_passes"]
    assert passes == sorted(passes) and passes[0] > 1


def test_leaving_out_is_training_without(clothing: Callable[..., Path]) -> None:
    digits = load_digits(clothing(train=300, test=20) / "mnist")
    data = TensorData(digits.train_images, digits.train_labels)
    queries = TensorData(digits.test_images[:3], digits.test_labels[:3])
    trained = train(data, SoftmaxCrossEntropy(0.05), outputs=10)
    indices = torch.tensor([7, 123])
    found = trained.leave_out(indices, queries)
    before = trained.problem.loss(trained.problem.parameters, queries.inputs, queries.targets)
    for column, index in enumerate(indices):
        kept = torch.arange(300)[torch.arange(300) != index]
        alone = train(rows(data, kept), SoftmaxCrossEntropy(0.05), outputs=10).problem
        rise = alone.loss(alone.parameters, queries.inputs, queries.targets) - before
        torch.testing.assert_close(found.exact[:, column], rise, rtol=1e-5, atol=1e-10)


def test_the_examples_curvatures_have_the_datas_as_their_mean(clothing: Callable[..., Path]) -> None:
    digits = load_digits(clothing(train=40, test=5) / "mnist")
    data = TensorData(digits.train_images, digits.train_labels)
    problem = train(data, SoftmaxCrossEntropy(0.05), outputs=10).problem
    vectors = {"weight": torch.randn(3, *problem.parameters["weight"].shape, dtype=torch.float64)}
    parts = [ExampleCurvature(problem, data.inputs[i : i + 1], data.targets[i : i + 1]) @ vectors for i in range(40)]
    mean = torch.stack([part["weight"] for part in parts]).mean(dim=0)
    expected = (GaussNewton(problem, data) + Regularisation(problem)) @ vectors
    torch.testing.assert_close(mean, expected["weight"], rtol=1e-10, atol=1e-12)


def test_a_longer_lissa_is_nearer(clothing: Callable[..., Path]) -> None:
    digits = load_digits(clothing(train=200, test=5) / "mnist")
    data = TensorData(digits.train_images, digits.train_labels)
    trained = train(data, SoftmaxCrossEntropy(0.05), outputs=10)
    slope = trained.slopes(TensorData(digits.test_images[:1], digits.test_labels[:1]))
    short, long = (by_lissa(trained, slope, 25.0, depth, 4, seed=0) for depth in (30, 1000))
    assert float(long.certificate.relative_residual) < 0.5 * float(short.certificate.relative_residual)
