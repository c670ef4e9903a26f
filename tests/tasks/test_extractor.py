"""The network below the last linear layer, as a function of images."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tasks.dataset import Split, load_split
from tasks.extractor import Extractor
from tasks.features import FeatureRecorder

Make = Callable[..., Extractor]


@pytest.fixture
def splits(make_prepared: Callable[..., object], tmp_path: Path) -> dict[str, Split]:
    workspace = make_prepared(tmp_path, count=50, held_out=20)
    return {name: load_split(workspace, name) for name in ("train", "test")}  # type: ignore[arg-type]


@pytest.fixture
def make(splits: dict[str, Split]) -> Iterator[Make]:
    """An extractor of a small network with twelve features."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 3)).eval()
    with FeatureRecorder(model) as recorder:
        yield lambda width=12, batch=7: Extractor(model, recorder, splits["train"], 0, width, batch)


def below(extract: Extractor, split: Split) -> torch.Tensor:
    """What the last layer is given of a split, as the stages compute it."""
    found: torch.Tensor = nn.Sequential(*list(extract.model.children())[:-1])(split.batch(slice(None))[0])
    return found.detach()


def test_features_are_those_the_last_layer_is_given(make: Make, splits: dict[str, Split]) -> None:
    extract = make()
    assert extract.variance == 1.0
    torch.testing.assert_close(extract.training, below(extract, splits["train"]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(extract.of(splits["test"]), below(extract, splits["test"]), atol=1e-5, rtol=1e-5)


def test_features_too_many_become_principal_components_of_training(make: Make, splits: dict[str, Split]) -> None:
    extract = make(width=4)
    train, test = (below(extract, splits[name]).double() for name in ("train", "test"))
    centre = train.mean(dim=0)
    _, values, basis = np.linalg.svd((train - centre).numpy(), full_matrices=False)
    assert extract.variance == pytest.approx(float((values[:4] ** 2).sum() / (values**2).sum()), rel=1e-5)
    reduced = ((test - centre).numpy() @ basis[:4].T)[:, ::-1]  # the largest last
    np.testing.assert_allclose(np.abs(extract.of(splits["test"])), np.abs(reduced), atol=2e-5)


def test_the_slope_in_the_pixels_is_that_of_differences(make: Make, splits: dict[str, Split]) -> None:
    extract = make(width=4)
    images = torch.tensor(splits["test"].inputs[:2], dtype=torch.float32).requires_grad_(True)
    (slope,) = torch.autograd.grad(extract(images).square().sum(), images)
    direction = slope.sign()
    with torch.no_grad():
        ends = [float(extract(images + step * direction).square().sum()) for step in (0.5, -0.5)]
    assert ends[0] - ends[1] == pytest.approx(float(slope.abs().sum()), rel=1e-2)
