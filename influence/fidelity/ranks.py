"""Rank correlation, with ties, and with weights that stand for a sample drawn again."""

import torch
from torch import Tensor


def spearman(left: Tensor, right: Tensor, weights: Tensor | None = None) -> Tensor:
    """Spearman's rank correlation along the last axis; tied values share the mean of their ranks.

    Args:
        left: [..., M].
        right: [..., M].
        weights: how often each of the M pairs counts, [B, M]; None: once.

    Returns:
        [...], or with weights [..., B]. Where all values of a side are tied nothing is ranked, and it is 0.

    Raises:
        ValueError: the shapes differ, or there are fewer than two pairs.
    """
    if left.shape != right.shape or left.shape[-1] < 2:
        raise ValueError(
            f"rank correlation needs two or more pairs of values, not {list(left.shape)} and {list(right.shape)}"
        )
    counts = torch.ones(1, left.shape[-1]) if weights is None else weights
    counts = counts.double()
    first, second = _ranks(left, counts), _ranks(right, counts)
    total = counts.sum(dim=-1, keepdim=True)
    first = first - (counts * first).sum(dim=-1, keepdim=True) / total
    second = second - (counts * second).sum(dim=-1, keepdim=True) / total
    covariance = (counts * first * second).sum(dim=-1)
    spread = ((counts * first.square()).sum(dim=-1) * (counts * second.square()).sum(dim=-1)).sqrt()
    ranked = spread > 1e-9 * total.squeeze(-1)  # ranks of a tied side differ by rounding alone
    found = torch.where(ranked, covariance / torch.where(ranked, spread, 1.0), 0.0)
    return found.squeeze(-1) if weights is None else found


def _ranks(values: Tensor, counts: Tensor) -> Tensor:
    """Mean rank of every value among a sample in which value j is there counts[b, j] times, [..., B, M]."""
    own, others = values.unsqueeze(-1), values.unsqueeze(-2)
    before = (others < own).double() + 0.5 * (others == own).double()  # [..., M, M]
    return (before @ counts.T).mT
