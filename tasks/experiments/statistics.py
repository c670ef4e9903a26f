"""How well a prediction agrees with the truth."""

import torch
from torch import Tensor


def pearson(left: Tensor, right: Tensor) -> float:
    """Correlation of two vectors [K]."""
    return float(torch.corrcoef(torch.stack([left.double(), right.double()]))[0, 1])


def pearson_rows(left: Tensor, right: Tensor) -> Tensor:
    """Correlation of each row of [Q, K] with its partner, [Q]."""
    return torch.tensor([pearson(first, second) for first, second in zip(left, right, strict=True)])


def mean_relative_error(predicted: Tensor, actual: Tensor) -> float:
    """Mean of |predicted - actual| / |actual|."""
    return float(((predicted - actual) / actual).abs().mean())
