"""Pooled correlation against numpy's, on the sample and on samples written out."""

import numpy as np
import pytest
import torch

from influence.fidelity import pooled_correlation, pooled_draws, resample, slope


def test_it_is_pearsons_over_all_pairs() -> None:
    left, right = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.corrcoef(left.flatten(), right.flatten())[0, 1]
    assert pooled_correlation(1e-3 * left + 40, right) == pytest.approx(expected, abs=1e-9)
    draws = resample(7, 5, draws=3)
    for found, columns, rows in zip(pooled_draws(left, right, draws), draws.subsets, draws.queries, strict=True):
        chosen = [
            torch.repeat_interleave(torch.repeat_interleave(side, rows.long(), dim=0), columns.long(), dim=1).flatten()
            for side in (left, right)
        ]
        assert float(found) == pytest.approx(np.corrcoef(*chosen)[0, 1], abs=1e-9)


def test_a_constant_side_correlates_with_nothing() -> None:
    assert pooled_correlation(torch.ones(2, 3), torch.randn(2, 3)) == 0


def test_the_slope_is_what_the_prediction_is_multiplied_by() -> None:
    predicted = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    assert slope(predicted, 1.5 * predicted) == pytest.approx(1.5)
    assert slope(torch.zeros(2, 2), predicted) == 0
