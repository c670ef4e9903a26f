"""Intervals by drawing subsets and queries again, both at once: a score is an estimate over either.

The same draws serve every method, so that a difference of two of them is measured on the same samples.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

DRAWS = 1000


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def margin(self) -> float:
        """Half the length of the interval: the number after ±."""
        return (self.high - self.low) / 2

    def rounded(self, digits: int = 4) -> dict[str, float]:
        """The three numbers by name, as a file of metrics has them."""
        return {name: round(value, digits) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Draws:
    """Samples drawn with replacement, as how often each member is in each.

    Attributes:
        subsets: [B, M].
        queries: [B, Q].
    """

    subsets: Tensor
    queries: Tensor

    def mean(self, per_query: Tensor) -> Tensor:
        """Mean over the queries of each sample, [B], of values [Q, B]."""
        return (self.queries * per_query.T).sum(dim=1) / self.queries.sum(dim=1)


def resample(subsets: int, queries: int, draws: int = DRAWS, seed: int = 0) -> Draws:
    """Draw subsets and queries with replacement, as many as there are."""
    rng = np.random.default_rng(seed)
    counts = (rng.multinomial(size, np.full(size, 1 / size), size=draws) for size in (subsets, queries))
    return Draws(*(torch.from_numpy(count).double() for count in counts))


def estimate(value: float, drawn: Tensor, confidence: float = 0.95) -> Estimate:
    """A value with the percentile interval of what it is on samples drawn again (Efron 1979).

    Args:
        value: on the sample itself.
        drawn: on samples drawn from it, [B].
        confidence: share of the draws inside the interval.
    """
    tail = (1 - confidence) / 2
    low, high = torch.quantile(drawn.double(), torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Estimate(value, low, high)


def difference(first: tuple[float, Tensor], second: tuple[float, Tensor], confidence: float = 0.95) -> Estimate:
    """The first less the second, each a value and what it is on the same draws, [B]."""
    return estimate(first[0] - second[0], first[1] - second[1], confidence)
