"""How well a prediction agrees with the truth."""

import torch
from torch import Tensor

from influence.fidelity import Estimate, estimate, resample


def pearson(left: Tensor, right: Tensor) -> float:
    """Correlation of two vectors [K]."""
    return float(torch.corrcoef(torch.stack([left.double(), right.double()]))[0, 1])


def pearson_rows(left: Tensor, right: Tensor) -> Tensor:
    """Correlation of each row of [Q, K] with its partner, [Q]."""
    return torch.tensor([pearson(first, second) for first, second in zip(left, right, strict=True)])


def mean_relative_error(predicted: Tensor, actual: Tensor) -> float:
    """Mean of |predicted - actual| / |actual|."""
    return float(((predicted - actual) / actual).abs().mean())


def overshoot(predicted: Tensor, actual: Tensor) -> float:
    """By what factor a prediction is too large: the ratio of the root mean squares."""
    return float(predicted.norm() / actual.norm())


def median_pearson(left: Tensor, right: Tensor, seed: int) -> Estimate:
    """Median over Q of the correlation of each row of [Q, K] with its partner.

    Its 95 % interval comes from drawing both the Q rows and the K columns again.
    """
    draws = resample(left.shape[1], left.shape[0], seed=seed)
    correlations = _weighted_pearson(left.double(), right.double(), draws.subsets)
    drawn = [
        values.repeat_interleave(times).quantile(0.5)
        for values, times in zip(correlations.T, draws.queries.long(), strict=True)
    ]
    return estimate(float(pearson_rows(left, right).quantile(0.5)), torch.stack(drawn))


def _weighted_pearson(left: Tensor, right: Tensor, weights: Tensor) -> Tensor:
    """Correlation of rows of [Q, K] in which column k counts weights[b, k] times, [Q, B]."""
    shares = (weights / weights.sum(dim=1, keepdim=True)).T

    def covariance(first: Tensor, second: Tensor) -> Tensor:
        return (first * second) @ shares - (first @ shares) * (second @ shares)

    return covariance(left, right) / (covariance(left, left) * covariance(right, right)).sqrt()
