from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from experiments.common.animal_network import FEATURES, Training, augmented, features, frozen, network, train_network
from experiments.common.animals import load_animals

QUICK = Training(epochs=4, crop=24, batch_size=20)


def test_training_tells_the_classes_apart_and_a_seed_gives_the_same_bits(photographs: Callable[..., Path]) -> None:
    train, test = load_animals(photographs(train=90, test=40) / "dogfish")
    model, again, other = (train_network(train, QUICK, seed) for seed in (0, 0, 1))
    inputs, queries = features(model, train.images), features(model, test.images)
    assert inputs.shape == (90, FEATURES) and inputs.dtype == torch.float64
    assert torch.equal(inputs, features(again, train.images))
    assert not torch.equal(inputs, features(other, train.images))
    means = torch.stack([inputs[train.labels == label].mean(dim=0) for label in (0, 1)])
    read = torch.cdist(queries, means).argmin(dim=1)
    assert float((read == test.labels).double().mean()) > 0.85


def test_the_frozen_network_is_the_trained_one(photographs: Callable[..., Path]) -> None:
    train, _ = load_animals(photographs(train=40, test=2) / "dogfish")
    model = train_network(train, Training(epochs=1, crop=24, batch_size=20), seed=0)
    found = frozen(model.state_dict())
    assert not any(isinstance(part, nn.BatchNorm2d) and part.affine for part in found.modules())
    torch.testing.assert_close(features(found, train.images), features(model, train.images), rtol=1e-4, atol=1e-5)


def test_features_are_of_each_image_alone() -> None:
    model = network().eval()
    images = torch.randint(256, (103, 3, 32, 40), dtype=torch.uint8)
    together = features(model, images)
    torch.testing.assert_close(together[101:], features(model, images[101:]), rtol=1e-5, atol=1e-6)


def test_what_is_shown_are_parts_of_the_images_that_vary_a_little() -> None:
    ramp = torch.arange(40, dtype=torch.uint8).expand(200, 3, 30, 40)
    shown = augmented(ramp, 16, torch.Generator().manual_seed(0))
    assert shown.shape == (200, 3, 16, 16)
    steps = shown.diff(dim=-1)
    torch.testing.assert_close(
        steps, steps[:, :, :1, :1].expand_as(steps), rtol=1e-3, atol=1e-3
    )  # one contrast a colour
    slope = steps[:, :, 0, 0]
    assert 0.4 < (slope < 0).all(dim=1).double().mean() < 0.6 and bool(
        ((slope > 0).all(dim=1) | (slope < 0).all(dim=1)).all()
    )
    assert slope.abs().min() >= 1 - 0.38 - 1e-3 and slope.abs().max() <= 1.38 + 1e-3 and slope.abs().std() > 0.1
