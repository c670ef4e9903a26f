from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import nonconvex
from experiments.common.checkpoint import Influences, at, predicted_labels
from experiments.common.small_cnn import network, patches
from experiments.nonconvex import Parameters, chosen
from influence import Influence, SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.retraining import AdamState

DAMPING = 15.0  # more than the most negative eigenvalue of an untrained network
SMALL = {
    "damping": 0.5,
    "batch": 50,
    "phases": {0.01: 50, 0.001: 10},
    "steps_without": 11,
    "removed": 6,
    "misread_points": 1,
    "random_points": 1,
    "top_each": 1,
    "random_train": 2,
    "together": 5,
}


def test_influence_predicts_what_going_on_without_an_image_does(
    clothing: Callable[..., Path], measured: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nonconvex, "LANCZOS", 3)
    root = clothing(train=1500, test=60, shrink=1)
    metrics = measured(nonconvex, root, test_point=5, **SMALL)
    assert metrics["train_loss"] < 1.5 and metrics["gradient_norm"] > 1e-3, "trained, but not to the end"
    assert metrics["residual"] <= 0.001 or metrics["negative_curvature_met"] > 0, "solved, or said not to be"
    assert metrics["test_points"] == 3 and 6 < metrics["left_out"] <= 10
    assert metrics["pearson_paper_protocol_gauss_newton"] > 0.3 and metrics["pearson_median_gauss_newton"] > 0.6
    low, high = metrics["pearson_ci"]
    assert metrics["pearson_least"] <= metrics["pearson_median"] <= 1 and low <= metrics["pearson_median"] <= high
    assert metrics["drift"] > 0 and metrics["drift_parameters"] > 1


def test_both_curvatures_are_those_of_the_library() -> None:
    torch.manual_seed(1)
    objective = SoftmaxCrossEntropy(0.01)
    start = AdamState.start(Problem(network(), objective))
    calm = {name: 0.4 * value for name, value in start.parameters.items()}
    problem = at(replace(start, parameters=calm), objective, torch.float64)
    images = torch.rand(33, 784, dtype=torch.float64)
    labels = predicted_labels(problem, images)
    data, queries = (TensorData(patches(images[part]), labels[part]) for part in (slice(30), slice(30, None)))
    found = Influences(problem, data, queries)
    by_hessian, certificate = found.by_hessian(DAMPING, tolerance=1e-8)
    by_gauss_newton = found.by_gauss_newton(DAMPING)
    assert bool(certificate.converged.all()) and not bool(certificate.negative_curvature.any())
    for scores, curvature in ((by_hessian, "hessian"), (by_gauss_newton, "gauss-newton")):
        engine = Influence(
            problem.model,
            objective,
            (data.inputs, data.targets),
            curvature,  # type: ignore[arg-type]
            damping=DAMPING,
            tolerance=1e-8,
        )
        expected = engine.pairwise((queries.inputs, queries.targets))
        torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-9)
    assert not torch.allclose(by_hessian, by_gauss_newton, rtol=0.01)


def test_damping_is_doubled_until_no_direction_is_negative() -> None:
    torch.manual_seed(1)
    objective = SoftmaxCrossEntropy(0.01)
    problem = at(AdamState.start(Problem(network(), objective)), objective, torch.float64)
    inputs, labels = patches(torch.rand(8, 784, dtype=torch.float64)), torch.arange(8)
    found = Influences(problem, TensorData(inputs, labels), TensorData(inputs[:1], labels[:1]))
    assert bool(found.by_hessian(5.0, tolerance=1e-4)[1].negative_curvature.any())
    scores, damping = found.by_convex_hessian(5.0, tolerance=1e-4)
    assert damping in (10.0, 20.0, 40.0, 80.0, 160.0)
    expected, certificate = found.by_hessian(damping, tolerance=1e-4)
    assert scores.equal(expected) and not bool(certificate.negative_curvature.any())


def test_the_first_test_image_has_its_own_and_the_others_theirs() -> None:
    torch.manual_seed(0)
    scores = torch.zeros(3, 50)
    scores[0, :4] = torch.tensor([1.0, -4.0, 3.0, 2.0])
    scores[1, 30], scores[2, 1], scores[2, 31] = -1.0, 2.0, 1.0
    left_out = chosen(scores, Parameters(removed=3, top_each=1, random_train=5))
    assert left_out[:3].tolist() == [1, 2, 3] and 30 in left_out[3:]
    assert len(left_out.unique()) == len(left_out) and 4 <= len(left_out) <= 9


def test_test_images_are_the_papers_then_misread_then_any() -> None:
    torch.manual_seed(0)
    misread = torch.arange(40) % 4 == 0
    points = nonconvex.test_points(misread, Parameters(test_point=7, misread_points=5, random_points=6))
    assert points[0] == 7 and misread[points[1:6]].all() and len(points.unique()) == len(points) == 12
