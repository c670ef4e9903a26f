"""Features: the input of the last linear layer, small enough to be stored."""

import pytest
import torch
from torch import Tensor, nn

from tasks.errors import UserError
from tasks.features import PROJECTED, WIDEST, FeatureRecorder, Projection


class Backwards(nn.Module):
    """Its layers run in the other order than they are registered in."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.first = nn.Linear(3, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.first(inputs).relu())


def features(model: nn.Module, inputs: Tensor, module: str | None = None) -> Tensor:
    with FeatureRecorder(model, module) as recorder:
        return recorder.take(model(inputs))


def test_the_linear_layer_that_runs_last_counts() -> None:
    model, inputs = Backwards(), torch.randn(5, 3)
    assert torch.equal(features(model, inputs), model.first(inputs).relu())


def test_a_named_module_and_hooks_removed() -> None:
    model, inputs = Backwards(), torch.randn(5, 3)
    assert torch.equal(features(model, inputs, "first"), inputs)
    assert not model.first._forward_pre_hooks and not model.last._forward_pre_hooks


def test_features_are_flat() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Flatten())
    assert features(model, torch.randn(5, 4, 3)).shape == (5, 12)


def test_without_a_linear_layer_the_outputs_count() -> None:
    model, inputs = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), torch.randn(5, 1, 3, 3)
    assert torch.equal(features(model, inputs), model(inputs))


def test_messages() -> None:
    with pytest.raises(UserError, match=r"no module 'frist'; it has last, first"):
        FeatureRecorder(Backwards(), "frist")
    folded = nn.Sequential(nn.Flatten(0, 1), nn.Linear(3, 2), nn.Unflatten(0, (5, 4)))
    with pytest.raises(UserError, match=r"input of the last linear layer is not a tensor with one row an example"):
        features(folded, torch.randn(5, 4, 3))


def test_projection_keeps_distances_and_narrow_features() -> None:
    project = Projection(seed=0)
    narrow = torch.randn(3, WIDEST)
    assert project(narrow) is narrow
    wide = torch.randn(20, WIDEST + 1)
    projected = project(wide)
    assert projected.shape == (20, PROJECTED)
    ratio = torch.pdist(projected) / torch.pdist(wide)
    assert (ratio - 1).abs().max() < 0.25
    assert torch.allclose(project(wide[3:5]), projected[3:5], atol=1e-4)  # the same in every batch
    assert torch.equal(Projection(seed=0)(wide), projected)
    assert not torch.equal(Projection(seed=1)(wide), projected)
