from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import dog_fish
from experiments.common.animal_network import features, frozen
from experiments.common.animals import FISH
from tasks.errors import UserError
from tasks.tensors import read_tensors

SMALL = {"gamma": 0.3, "other_fish": 6, "network": {"epochs": 4, "crop": 24, "batch_size": 20}}


def test_both_models_are_explained_and_the_network_is_left(
    photographs: Callable[..., Path], measured: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    metrics = measured(dog_fish, photographs(train=80, test=40), **SMALL)
    assert metrics["rbf_accuracy"] > 0.8 and metrics["network_accuracy"] > 0.8
    for model in ("rbf", "network"):
        assert -1 <= metrics[f"{model}_corr_distance"] <= 1 and 0 <= metrics[f"{model}_sign_is_class"] <= 1
        assert 1 <= metrics[f"{model}_first_dog_helpful_rank"] <= 41
        assert (
            metrics[f"{model}_helpful"] == metrics[f"{model}_harmful"][::-1] or len(metrics[f"{model}_helpful"]) == 20
        )
    assert metrics["test_fish"].startswith("test/")
    weights, _ = read_tensors(tmp_path / "dog_fish/network.safetensors")
    assert torch.isfinite(features(frozen(weights), torch.zeros(1, 3, 28, 28, dtype=torch.uint8))).all()


def test_the_fish_both_are_surest_of_comes_first() -> None:
    labels = torch.tensor([FISH, FISH, FISH, FISH, FISH, 1])
    kernel = torch.tensor([0.9, 0.8, 0.1, 1.2, -0.5, 0.95])
    features = torch.tensor([1.0, 4.0, 5.0, 9.0, 8.0, 9.0])
    chosen = dog_fish.choose(kernel, features, labels, others=5)
    assert chosen[0] == 1 and sorted(chosen[1:].tolist()) == [0, 2], "no dog, no fish misread or without a loss"
    with pytest.raises(UserError, match="nothing to explain"):
        dog_fish.choose(kernel, -features, labels, others=5)


def test_what_is_measured() -> None:
    same = torch.tensor([[True, True, True, False]]).repeat(2, 1)
    influence = torch.tensor([[3.0, 2.0, -1.0, -4.0], [1.0, 2.0, 4.0, 3.0]])
    distances = torch.tensor([[2.0, 3.0, 4.0, 1.0], [1.0, 2.0, 4.0, 3.0]])
    found = dog_fish.measure(influence, distances, same)
    assert found["corr_distance"] == pytest.approx(-1.0) and found["corr_distance_other_fish_median"] == pytest.approx(
        1.0
    )
    assert found["sign_is_class"] == 0.75 and found["sign_is_class_other_fish_median"] == 0.75
    assert found["sign_is_class_weighted"] == pytest.approx(0.9)
    assert found["first_dog_helpful_rank"] == 4 and found["first_dog_helpful_rank_other_fish_median"] == 2
    assert found["dogs_helpful"] == 0.0 and found["dogs_helpful_other_fish_median"] == 1.0
