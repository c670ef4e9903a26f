from typing import Any

import pytest
from layer_checks import check, classifier, randn, randomised
from torch import nn

ONE: dict[str, dict[str, Any]] = {
    "plain": {},
    "stride, padding, dilation": {"stride": 2, "padding": 3, "dilation": 2},
    "without bias": {"bias": False},
    "same": {"padding": "same", "dilation": 3},
    "same, even kernel": {"kernel_size": 4, "padding": "same"},
    "valid": {"padding": "valid"},
    "groups": {"groups": 2, "stride": 2},
    "depthwise": {"groups": 4, "out_channels": 8, "padding": 1},
    "groups, few positions": {"groups": 2, "kernel_size": 8},
}
TWO: dict[str, dict[str, Any]] = {
    "plain": {},
    "unequal": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
    "without bias": {"bias": False},
    "pointwise": {"kernel_size": 1},
    "same": {"padding": "same", "kernel_size": (2, 3), "dilation": (1, 2)},
    "valid": {"padding": "valid"},
    "groups": {"groups": 2, "kernel_size": (2, 3), "padding": 1},
    "groups without bias": {"groups": 2, "bias": False, "stride": 2},
    "depthwise": {"groups": 4, "out_channels": 8},
    "groups, same, reflected": {"groups": 2, "padding": "same", "padding_mode": "reflect"},
}
MODES = ["reflect", "replicate", "circular"]
DEFAULTS: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("options", ONE)
def test_one_dimension_is_exact(options: str) -> None:
    inputs = randn(5, 4, 9)
    check(classifier(nn.Conv1d(**DEFAULTS | ONE[options]), inputs), inputs, {"0", "3"})


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("options", TWO)
def test_two_dimensions_are_exact(options: str) -> None:
    inputs = randn(5, 4, 5, 4)
    check(classifier(nn.Conv2d(**DEFAULTS | TWO[options]), inputs), inputs, {"0", "3"})


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("padding", [(1, 2), "same"])
@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_padding_is_exact(mode: Any, padding: Any) -> None:
    images = randn(4, 2, 5, 4)
    check(classifier(nn.Conv2d(2, 2, (2, 3), padding=padding, padding_mode=mode), images), images, {"0", "3"})
    lines, along = randn(4, 2, 7), padding if padding == "same" else 2
    check(classifier(nn.Conv1d(2, 2, 4, padding=along, padding_mode=mode), lines), lines, {"0", "3"})


@pytest.mark.parametrize("groups", [1, 2])
def test_calls_of_a_shared_module_add_up(groups: int) -> None:
    shared = nn.Conv1d(4, 4, 3, padding=1, groups=groups)
    model = nn.Sequential(nn.Conv1d(2, 4, 1), shared, nn.Tanh(), shared, nn.Tanh(), nn.Flatten(), nn.Linear(20, 3))
    check(randomised(model), randn(4, 2, 5), {"0", "1", "6"})


def test_three_dimensions_are_left_to_vmap() -> None:
    volumes = randn(4, 1, 3, 3, 3)
    check(classifier(nn.Conv3d(1, 2, 2), volumes), volumes, {"3"})
