"""The k most helpful and the k most harmful training examples of every query, kept while scores stream by."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class TwoSidedTop:
    """Running best of both tails; constant memory, and the same answer whatever the batches and their order.

    Ties are broken by the smaller index. Only positive scores are helpful and only negative ones harmful, so a tail
    may hold fewer than k; its unfilled places have index -1 and value 0.

    Args:
        queries: Q.
        k: how many to keep of each tail.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self._values = {sign: torch.zeros(queries, 0, dtype=torch.float64) for sign in (1, -1)}
        self._indices = {sign: torch.zeros(queries, 0, dtype=torch.int64) for sign in (1, -1)}

    def update(self, scores: Tensor, indices: Tensor) -> None:
        """Take in the scores [Q, B] of the training examples at `indices`, [B]."""
        scores, indices = scores.double().cpu(), indices.cpu().expand(len(scores), -1)
        for sign in (1, -1):
            self._join(sign, sign * scores, indices)

    def merge(self, other: "TwoSidedTop") -> None:
        """Take in what another instance kept of other training examples."""
        for sign in (1, -1):
            self._join(sign, other._values[sign], other._indices[sign])

    @classmethod
    def joined(cls, parts: Sequence["TwoSidedTop"]) -> "TwoSidedTop":
        """One instance of all the queries of several, in their order."""
        states = [part.state() for part in parts]
        return cls.from_state(parts[0].k, {name: torch.cat([state[name] for state in states]) for name in states[0]})

    def helpful(self) -> tuple[Tensor, Tensor]:
        """Indices [Q, k] and scores [Q, k], the most helpful first."""
        return self._tail(1)

    def harmful(self) -> tuple[Tensor, Tensor]:
        """Indices [Q, k] and scores [Q, k], the most harmful first."""
        return self._tail(-1)

    def state(self) -> dict[str, Tensor]:
        """All that is kept, to be stored."""
        return {
            "helpful_values": self._values[1],
            "helpful_indices": self._indices[1],
            "harmful_values": self._values[-1],
            "harmful_indices": self._indices[-1],
        }

    @classmethod
    def from_state(cls, k: int, tensors: Mapping[str, Tensor], places: Tensor | None = None) -> "TwoSidedTop":
        """The inverse of `state`; where that is of a part of the examples, `places` has their indices, ascending."""
        top = cls(len(tensors["helpful_values"]), k)
        top._values = {1: tensors["helpful_values"], -1: tensors["harmful_values"]}
        top._indices = {1: tensors["helpful_indices"], -1: tensors["harmful_indices"]}
        if places is not None:
            top._indices = {sign: places[indices] for sign, indices in top._indices.items()}
        return top

    def _join(self, sign: int, values: Tensor, indices: Tensor) -> None:
        if self._values[sign].shape[1] == self.k:
            values, indices = _contenders(values, indices, self._values[sign][:, -1:])
            if not values.shape[1]:
                return
        values = torch.cat([self._values[sign], values], dim=1)
        indices = torch.cat([self._indices[sign], indices], dim=1)
        order = indices.argsort(
            dim=1, stable=True
        )  # first by index, then (stably) by value: ties go to the smaller index
        values, indices = values.gather(1, order), indices.gather(1, order)
        order = values.argsort(dim=1, descending=True, stable=True)[:, : self.k]
        self._values[sign], self._indices[sign] = values.gather(1, order), indices.gather(1, order)

    def _tail(self, sign: int) -> tuple[Tensor, Tensor]:
        values, indices = self._values[sign], self._indices[sign]
        kept = values > 0
        filled = torch.where(kept, indices, torch.full_like(indices, -1))
        return filled, sign * torch.where(kept, values, torch.zeros_like(values))


def _contenders(values: Tensor, indices: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of each row that can still be kept: those not below the least value kept, [Q, 1], and fill.

    Once many examples have passed, few of a batch are left to be sorted.
    """
    most = int((values >= least).sum(dim=1).max()) if values.numel() else 0
    if most >= values.shape[1] // 2:
        return values, indices
    found = values.topk(most, dim=1, sorted=False)
    return found.values, indices.gather(1, found.indices)
