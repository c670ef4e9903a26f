from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import components
from experiments.common.convex import train
from experiments.common.mnist import load_digits
from influence import BinaryCrossEntropy
from influence.problem import TensorData


def test_pictures_alone_never_find_a_harmful_example_of_the_own_label(
    clothing: Callable[..., Path], measured: Callable[..., dict[str, Any]]
) -> None:
    root = clothing(train=1500, test=300)
    metrics = measured(components, root, positive=4, negative=6, test_point=3, other_points=20)
    assert 0.02 < metrics["same_label_harmful_without_loss"] < 0.98
    assert metrics["same_label_harmful_inner_product"] == 0.0
    assert metrics["corr_inner_product"] < metrics["corr_without_hessian"] < 0.95
    assert metrics["corr_inner_product_other_points_median"] < 0.95


def test_each_variant_lacks_exactly_its_factor(clothing: Callable[..., Path]) -> None:
    digits = load_digits(clothing(train=800, test=100) / "mnist").binary(4, 6)
    labels = (digits.train_labels > 0).long()
    trained = train(TensorData(digits.train_images, labels), BinaryCrossEntropy(0.01))
    chosen = torch.tensor([2, 5])
    influence, variants = components.components(trained, digits, chosen)
    theta, n = trained.problem.parameters["weight"][0], len(labels)
    loss_factor = torch.sigmoid(-digits.train_labels * (digits.train_images @ theta))
    regularisation = 0.01 * theta / n
    slopes = trained.slopes(TensorData(digits.test_images[chosen], (digits.test_labels[chosen] > 0).long()))
    solutions = trained.solve(slopes)
    for scores, lossless, left in (
        (influence, variants["without_loss"], solutions),
        (variants["without_hessian"], variants["inner_product"], slopes),
    ):
        share = left["weight"][:, 0] @ regularisation
        torch.testing.assert_close(scores, loss_factor * lossless + share.unsqueeze(1), rtol=1e-9, atol=1e-15)
    curvature = (digits.train_images.T * (loss_factor * (1 - loss_factor))) @ digits.train_images / n
    dense = curvature + 0.01 * torch.eye(len(theta), dtype=torch.float64)
    expected = torch.linalg.solve(dense, slopes["weight"][:, 0].T).T
    torch.testing.assert_close(solutions["weight"][:, 0], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 7])
def test_the_overlap_of_a_vector_with_itself_is_whole(rows: int) -> None:
    scores = torch.randn(rows, 2 * components.TOP)
    assert components._overlap(scores[0], -scores[0]) == 1.0
    assert components._overlap(scores[0], 1 / scores[0]) == 0.0
