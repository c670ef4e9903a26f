from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import hinge
from experiments.common.mnist import load_digits
from influence.problem import TensorData
from influence.retraining import minimise_hinge

PULLOVER, SHIRT, DECAY = 2, 6, 0.001
MISREAD = 72  # a picture, of the test pictures of the two


def test_a_smooth_hinge_predicts_what_the_hinge_cannot(
    clothing: Callable[..., Path], measured: Callable[..., dict[str, Any]]
) -> None:
    root = clothing(train=2500, test=400)
    small = {"removed": 30, "other_points": 5, "together": 50}
    metrics = measured(hinge, root, positive=PULLOVER, negative=SHIRT, weight_decay=DECAY, test_point=MISREAD, **small)
    assert metrics["n"] % hinge.ROUND == 0 and metrics["test_point_loss"] > 1, "a misread picture"
    assert metrics["pearson_t0"] + 0.1 < metrics["pearson_t0001"]
    assert metrics["pearson_t0001"] > 0.8 and metrics["pearson_active_set_held"] > 0.8
    assert metrics["active_set_changes_mean"] >= 1 and metrics["margin_violation"] <= 1e-9
    quartiles = [metrics[f"other_points_pearson_{name}_quartiles"] for name in ("t0", "t0001", "active_set_held")]
    assert quartiles[0][1] < quartiles[1][0] and quartiles[0][1] < quartiles[2][0]


@pytest.mark.parametrize("temperature", [0.0, 0.001, 0.1])
def test_influence_is_that_of_the_smooth_hinge_at_the_minimum_of_the_hinge(
    clothing: Callable[..., Path], temperature: float
) -> None:
    digits = load_digits(clothing(train=600, test=60) / "mnist").binary(PULLOVER, SHIRT)
    data, queries = (
        TensorData(images, labels)
        for images, labels in (
            (digits.train_images, digits.train_labels),
            (digits.test_images[:5], digits.test_labels[:5]),
        )
    )
    minimum = minimise_hinge(data.inputs, data.targets, DECAY)
    signed = data.targets.unsqueeze(1) * data.inputs
    query_signed = queries.targets.unsqueeze(1) * queries.inputs
    slopes, bends = derivatives(minimum.margins, temperature)
    query_slopes, _ = derivatives(query_signed @ minimum.theta, temperature)
    hessian = (signed.T * bends) @ signed / len(data) + DECAY * torch.eye(len(minimum.theta), dtype=torch.float64)
    gradients = slopes.unsqueeze(1) * signed + DECAY * minimum.theta
    expected = query_slopes.unsqueeze(1) * query_signed @ torch.linalg.solve(hessian, gradients.T) / len(data)
    found = hinge.influence(minimum, data, queries, temperature)
    settled = ~minimum.free if temperature == 0 else torch.ones(len(data), dtype=torch.bool)  # the kink has no slope
    torch.testing.assert_close(found[:, settled], expected[:, settled], rtol=1e-7, atol=1e-12)


def derivatives(margins: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """First and second derivative of the smooth hinge, in closed form."""
    if temperature == 0:
        return -(margins < 1).double(), torch.zeros_like(margins)
    share = torch.sigmoid((1 - margins) / temperature)
    return -share, share * torch.sigmoid((margins - 1) / temperature) / temperature


def test_the_loss_of_several_models_is_the_hinge() -> None:
    theta = torch.tensor([[1.0, 0.0], [0.0, -2.0]])
    examples = TensorData(torch.tensor([[0.25, 1.0], [3.0, 1.0], [0.0, 0.5]]), torch.tensor([1, 1, -1]))
    expected = [[0.75, 3.0], [0.0, 3.0], [1.0, 0.0]]
    assert hinge.hinge(theta, examples).tolist() == expected
