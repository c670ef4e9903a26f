"""Correlation of predicted with actual changes over all pairs of a query and an example that is left out."""

import torch
from torch import Tensor

from influence.fidelity.bootstrap import Draws


def pooled_correlation(predicted: Tensor, actual: Tensor) -> float:
    """Pearson's correlation over all pairs, as in figure 2 of Koh & Liang 2017; 0 where a side is constant.

    Args:
        predicted: [Q, K].
        actual: [Q, K].
    """
    queries, examples = actual.shape
    once = Draws(torch.ones(1, examples).double(), torch.ones(1, queries).double())
    return float(pooled_draws(predicted, actual, once))


def pooled_draws(predicted: Tensor, actual: Tensor, draws: Draws) -> Tensor:
    """The same on samples of examples and queries drawn again, [B]."""
    left, right = predicted.double(), actual.double()

    def mean(values: Tensor) -> Tensor:
        total = torch.einsum("bq,qk,bk->b", draws.queries, values, draws.subsets)
        return total / (draws.queries.sum(dim=1) * draws.subsets.sum(dim=1))

    # Centred first, so that the differences of moments below do not cancel.
    left, right = left - left.mean(), right - right.mean()
    first, second = mean(left), mean(right)
    covariance = mean(left * right) - first * second
    variances = (mean(left.square()) - first.square()) * (mean(right.square()) - second.square())
    varied = variances > 0
    return torch.where(varied, covariance / torch.where(varied, variances, 1.0).sqrt(), 0.0)


def slope(predicted: Tensor, actual: Tensor) -> float:
    """How many times the predicted changes the actual ones are, by least squares through the origin; 0 without any."""
    squares = float(predicted.double().square().sum())
    return float((predicted.double() * actual.double()).sum()) / squares if squares > 0 else 0.0
