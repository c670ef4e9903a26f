"""Training sets without the examples that a method holds most helpful: what the removal curve is measured on.

Where a method is right, the loss of the queries rises more than where as many are removed at random.
"""

import numpy as np
import torch
from torch import Tensor

Positions = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def without_extremes(helpfulness: Tensor, removed: int) -> Positions:
    """Positions of all examples but the most helpful ones, in order.

    Args:
        helpfulness: of each of N examples; larger is more helpful.
        removed: how many to leave out.

    Raises:
        ValueError: none or all would be left out, or a value is not finite.
    """
    _check(removed, len(helpfulness))
    if not bool(helpfulness.isfinite().all()):
        raise ValueError("examples cannot be ranked by values that are not finite")
    order = torch.argsort(helpfulness, descending=True, stable=True)
    kept: Positions = np.sort(order[removed:].cpu().numpy())
    return kept


def without_random(examples: int, removed: int, seed: int) -> Positions:
    """Positions of all examples but some drawn at random, in order.

    Raises:
        ValueError: none or all would be left out.
    """
    _check(removed, examples)
    kept: Positions = np.sort(np.random.default_rng(seed).permutation(examples)[removed:])
    return kept


def _check(removed: int, examples: int) -> None:
    if not 0 < removed < examples:
        raise ValueError(f"{removed:,} of {examples:,} examples cannot be removed: from 1 to n - 1 can")
