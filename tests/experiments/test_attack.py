from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import attack, dog_fish
from influence.attack import Attacked, Goals
from tasks.errors import UserError

NETWORK = {"gamma": 0.3, "other_fish": 2, "network": {"epochs": 3, "crop": 24, "batch_size": 20}}
SMALL = {
    "targets": 6,
    "together": 4,
    "shortlist": 15,
    "iterations": 8,
    "seen": 2,
    "limits": [60.0],
    "at_once": 6,
    "at_once_iterations": 8,
}


def test_attacks_beat_chance_and_rounding_hides_them(
    photographs: Callable[..., Path], measured: Callable[..., dict[str, Any]]
) -> None:
    root = photographs(train=60, test=30)
    with pytest.raises(UserError, match="run the experiment dog_fish first"):
        measured(attack, root, **SMALL)
    measured(dog_fish, root, **NETWORK)
    metrics = measured(attack, root, **SMALL)
    shares = [metrics[f"flipped_{count}"] for count in (1, 2, 3, 5, 10)]
    assert shares == sorted(shares) and metrics["attacked"] == 6
    assert metrics["control_random"] <= shares[-1]
    assert 0.15 < metrics["max_pixel_change_levels"] < 0.17
    assert metrics["flipped_1_within_levels"].keys() == {"60"}
    assert 0 <= metrics["flipped_multi_of_30"] <= 6
    assert metrics["control_random_by_count"][-1] == metrics["control_random"]


class Counted:
    """An attacker whose query t flips with fewest[t] training images or more."""

    counts = (1, 2, 3, 5, 10)

    def __init__(self, fewest: list[int]) -> None:
        self.fewest, self.tried = torch.tensor(fewest), list[tuple[int, int]]()

    def attack(self, positions: torch.Tensor, goals: Goals) -> Attacked:
        count = positions.shape[1]
        self.tried.append((count, len(positions)))
        flipped = self.fewest[goals.targets] <= count
        return Attacked(positions, torch.zeros(len(positions), count), flipped, torch.ones(len(positions)))


def test_queries_that_the_most_images_do_not_flip_are_left_in_peace() -> None:
    attacker = Counted([2, 99, 10, 1, 5])
    goals = Goals(torch.zeros(5, 1, 1), torch.arange(5).unsqueeze(1))
    _, fewest = attack.attack_with_fewest(attacker, torch.zeros(5, 10), goals)  # type: ignore[arg-type]
    assert fewest.tolist() == [2, 0, 10, 1, 5]
    assert attacker.tried == [(10, 5), (1, 4), (2, 3), (3, 2), (5, 2)]


def test_shares_count_what_took_no_more_images() -> None:
    fewest = {
        "attack": torch.tensor([1, 2, 0, 10]),
        "random": torch.tensor([0, 0, 0, 10]),
        "label_flip": torch.tensor([3, 1, 1, 1]),
        "largest": torch.tensor([0.4]),
    }
    found = attack.shares(fewest)
    assert [found[f"flipped_{count}"] for count in (1, 2, 3, 5, 10)] == [0.25, 0.5, 0.5, 0.5, 0.75]
    assert found["control_random"] == 0.25 and found["control_random_by_count"] == [0, 0, 0, 0, 0.25]
    assert found["control_label_flip"] == 1.0 and found["control_label_flip_by_count"][0] == 0.75
