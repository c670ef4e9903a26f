import pytest
import torch

from experiments.common.statistics import median_pearson, overshoot, pearson, pearson_rows
from influence.fidelity import resample


def pairs(rows: int, columns: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    left = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return left, left + noise * torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def test_the_interval_is_that_of_samples_drawn_again() -> None:
    left, right = pairs(5, 30, noise=0.7)
    found = median_pearson(left, right, seed=3)
    draws = resample(30, 5, seed=3)
    medians = []
    for columns, rows in zip(draws.subsets.long(), draws.queries.long(), strict=True):
        chosen, repeated = (torch.arange(len(counts)).repeat_interleave(counts) for counts in (columns, rows))
        medians.append(pearson_rows(left[repeated][:, chosen], right[repeated][:, chosen]).quantile(0.5))
    low, high = torch.stack(medians).double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert found.value == pytest.approx(float(pearson_rows(left, right).quantile(0.5)))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)
    assert low < found.value < high


def test_more_noise_is_less_correlation_and_a_larger_prediction_an_overshoot() -> None:
    close, far = (median_pearson(*pairs(4, 40, noise), seed=0) for noise in (0.1, 2.0))
    assert far.high < close.low <= close.high <= 1
    left, right = pairs(1, 40, 0.0)
    assert overshoot(3 * left[0], right[0]) == pytest.approx(3) and pearson(3 * left[0], right[0]) == pytest.approx(1)
