"""Top lists of two trainings, and training sets without the top of a list."""

import pytest
import torch

from influence.fidelity import rank_stability, top_overlap, without_extremes, without_random


def test_overlap_counts_shared_members() -> None:
    first = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    second = torch.tensor([[5.0, 1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert top_overlap(first, second, 2).tolist() == [0.5, 1.0]


def test_random_rankings_share_what_chance_gives_them() -> None:
    first, second = torch.randn(2, 200, 100, generator=torch.Generator().manual_seed(0))
    assert float(top_overlap(first, second, 20).mean()) == pytest.approx(0.2, abs=0.02)


def test_rank_stability_looks_at_the_lists_alone() -> None:
    """The examples that neither list holds are ranked the other way round, and do not count."""
    first = torch.tensor([[9.0, 8.0, 7.0, 3.0, 2.0, 1.0]])
    second = torch.tensor([[9.0, 8.0, 7.0, 1.0, 2.0, 3.0]])
    assert rank_stability(first, second, 3).tolist() == [pytest.approx(1.0)]
    assert rank_stability(first, -first, 6).tolist() == [pytest.approx(-1.0)]
    assert rank_stability(first, second, 1).tolist() == [1.0]


def test_lists_longer_than_the_data_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        top_overlap(torch.ones(1, 3), torch.ones(1, 3), 4)


def test_the_most_helpful_are_left_out() -> None:
    assert without_extremes(torch.tensor([0.1, 5.0, -2.0, 3.0]), 2).tolist() == [0, 2]
    kept = without_random(50, 20, seed=1)
    assert len(set(kept.tolist())) == 30 and kept.tolist() == sorted(kept.tolist())
    assert kept.tolist() == without_random(50, 20, seed=1).tolist() != without_random(50, 20, seed=2).tolist()


@pytest.mark.parametrize("removed", [0, 4])
def test_none_or_all_cannot_be_left_out(removed: int) -> None:
    with pytest.raises(ValueError, match="cannot be removed"):
        without_extremes(torch.ones(4), removed)


def test_what_is_not_finite_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="not finite"):
        without_extremes(torch.tensor([1.0, torch.nan]), 1)
