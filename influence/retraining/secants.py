"""What the steps of an iteration have shown of the Hessian, where the one that was factored is out of date.

The chord method takes the step H^-1 g with an old H. Of every move that it has made, the change of the gradient is
known, and with it what the true Hessian does along that move. Among what these moves span, the next one is that which
leaves the least gradient in the norm of H^-1 (Anderson 1965, "Iterative procedures for nonlinear integral equations").
Where only a few examples differ from those that H is of, a few moves are enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.vectors import Vectors, add_scaled, dot, select

MEMORY = 6  # moves remembered
DEPENDENT = 1e-12  # moves whose gradients differ by less than this, relatively, are taken for one


@dataclass(frozen=True)
class Seen:
    """A move of each of T iterations, and by how much the gradient and the step H^-1 g have changed with it."""

    moved: Vectors
    slope: Vectors
    step: Vectors


class Secants:
    """The last moves of T iterations that run side by side."""

    def __init__(self) -> None:
        self._seen: list[Seen] = []

    def add(self, seen: Seen) -> None:
        self._seen = [*self._seen[-MEMORY + 1 :], seen]

    def select(self, rows: Tensor) -> None:
        """Forget all iterations but these."""
        self._seen = [Seen(*(select(part, rows) for part in (s.moved, s.slope, s.step))) for s in self._seen]

    def improved(self, step: Mapping[str, Tensor]) -> Vectors:
        """What to subtract from each iteration's parameters in the place of H^-1 g, {name: [T, *shape]}."""
        if not self._seen:
            return dict(step)
        gram = torch.stack(
            [torch.stack([dot(a.slope, b.step) for b in self._seen], dim=-1) for a in self._seen], dim=-2
        )
        along = torch.stack([dot(seen.slope, step) for seen in self._seen], dim=-1)
        inverse = torch.linalg.pinv(gram, rtol=DEPENDENT, hermitian=True)
        shares = (inverse @ along.unsqueeze(-1)).squeeze(-1)
        total = dict(step)
        for share, seen in zip(shares.unbind(dim=-1), self._seen, strict=True):
            total = add_scaled(total, share, add_scaled(seen.moved, -1.0, seen.step))
        return total
