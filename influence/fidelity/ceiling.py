"""What the linear datamodelling score could be at most: the truth itself is a mean over few seeds, and noisy.

Two halves of the seeds give two measurements of each subset, whose correlation r is the reliability of one half. That
of all seeds together is 2 r / (1 + r) (Spearman 1910, Brown 1910), and no prediction correlates with a measurement of
reliability R by more than sqrt(R) in expectation (Spearman 1904): so far the measurement agrees with its own mean.
"""

from itertools import combinations

import torch
from torch import Tensor

from influence.fidelity.bootstrap import Draws
from influence.fidelity.ranks import spearman

MOST_SPLITS = 32


def ceiling(actual: Tensor) -> float:
    """The most that a prediction can score in expectation, from 0 to 1.

    Args:
        actual: the measurement under each of S seeds, [S, Q, M]. Where S is odd the halves differ by one.

    Raises:
        ValueError: there is one seed only.
    """
    halves = [spearman(*_means(actual, half)).mean() for half in _halves(len(actual))]
    return float(_corrected(torch.stack(halves).mean()))


def ceiling_draws(actual: Tensor, draws: Draws) -> Tensor:
    """The same on samples of subsets and queries drawn again, [B]."""
    halves = [draws.mean(spearman(*_means(actual, half), draws.subsets)) for half in _halves(len(actual))]
    return _corrected(torch.stack(halves).mean(dim=0))


def _corrected(reliability: Tensor) -> Tensor:
    """Spearman and Brown's correction, and its root; a reliability below 0 is taken as 0."""
    positive = reliability.clamp(min=0.0)
    return (2 * positive / (1 + positive)).sqrt()


def _halves(seeds: int) -> list[list[int]]:
    """The ways to choose half of the seeds, up to exchange with the other half, not too many."""
    if seeds < 2:
        raise ValueError("the ceiling needs every subset trained with two seeds or more, not one")
    chosen = [list(half) for half in combinations(range(seeds), seeds // 2) if seeds % 2 or half[0] == 0]
    return chosen[:MOST_SPLITS]


def _means(actual: Tensor, half: list[int]) -> tuple[Tensor, Tensor]:
    rest = [seed for seed in range(len(actual)) if seed not in half]
    return actual[half].mean(dim=0), actual[rest].mean(dim=0)
