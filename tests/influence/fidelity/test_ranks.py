"""Rank correlation against scipy's, with ties, and with a sample written out instead of counted."""

import pytest
import scipy.stats
import torch

from influence.fidelity import spearman


@pytest.mark.parametrize("levels", [1000, 4], ids=["without ties", "with ties"])
def test_it_is_scipys(levels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.randint(levels, (5, 23), generator=generator).double()
    right = torch.randint(levels, (5, 23), generator=generator).double()
    expected = [scipy.stats.spearmanr(*pair).statistic for pair in zip(left, right, strict=True)]
    assert spearman(left, right).tolist() == pytest.approx(expected, abs=1e-12)


def test_counts_stand_for_a_sample_written_out() -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 3, 9, generator=generator, dtype=torch.float64)
    counts = torch.tensor([[1, 0, 2, 0, 3, 1, 1, 0, 1], [0, 4, 1, 1, 0, 0, 2, 1, 0]]).double()
    found = spearman(left, right, counts)
    for draw, row in enumerate(counts):
        written = torch.repeat_interleave(torch.arange(9), row.long())
        for query in range(3):
            expected = scipy.stats.spearmanr(left[query, written], right[query, written]).statistic
            assert float(found[query, draw]) == pytest.approx(expected, abs=1e-12)


def test_what_is_all_tied_ranks_nothing() -> None:
    assert spearman(torch.ones(5), torch.arange(5.0)) == 0


def test_one_pair_is_not_enough() -> None:
    with pytest.raises(ValueError, match="two or more pairs"):
        spearman(torch.ones(3, 1), torch.ones(3, 1))
