"""From an inverse curvature to what scores training examples: the queries' systems solved, and the scorers made."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from influence.curvature import EKFAC
from influence.inverse_curvature import Curvature, InverseCurvature
from influence.layers import Readings, as_vectors
from influence.problem import TensorData
from influence.queries import Queries
from influence.scores import (
    FactoredNorms,
    FactoredPairwise,
    LowRankError,
    Pairwise,
    RelativeInfluence,
    Scores,
    SelfInfluence,
    SolvedNorms,
    low_rank_error,
    norm_in_metric,
    order_of,
)
from influence.scores.norms import Norms
from influence.scores.quadratic_form import quadratic_form
from influence.scores.relative import Relation
from influence.subset import take
from influence.vectors import Vectors, add_scaled, block, concatenate, dot

QUERIES, EXAMPLES = 16, 512  # on which the error of scores of low rank is measured


@dataclass(frozen=True)
class Arithmetic:
    """How much exactness pairwise scores give up for speed.

    Attributes:
        curvature: that is inverted.
        rank: terms of the low-rank inverse of every layer's EK-FAC or K-FAC; None: exact.
        dtype: in which activations, gradients and solutions are multiplied; None: the model's own.

    Raises:
        ValueError: the curvature has no such inverse, or a value is out of range.
    """

    curvature: Curvature
    rank: int | None = None
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if self.rank is not None and self.curvature not in ("ekfac", "kfac"):
            raise ValueError(f"low_rank approximates the inverse of ekfac or kfac, not of {self.curvature!r}")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"low_rank must be at least 1, got {self.rank}")
        if self.dtype not in (None, torch.bfloat16, torch.float16):
            raise ValueError(f"score_dtype is torch.bfloat16, torch.float16 or None, not {self.dtype}")


class Scoring:
    """Makes what scores batches of training examples.

    Args:
        inverse: (A + damping I)^-1; its memory plan says how much is done at once.
        arithmetic: of pairwise scores.

    Attributes:
        errors: of scores of low rank, one a block of queries, since they were last cleared.
    """

    def __init__(self, inverse: InverseCurvature, arithmetic: Arithmetic) -> None:
        self.inverse, self.gradients, self.train = inverse, inverse.gradients, inverse.train
        self.arithmetic = arithmetic
        self.errors: list[LowRankError] = []

    def scores(self, queries: Queries, relation: Relation | None) -> Iterator[tuple[slice, Tensor]]:
        """Scores [Q, B] of a block of queries, one batch of training examples after the other, and where they stand."""
        scorer, start = self.scorer(queries, relation), 0
        plan = self.inverse.plan
        solving = relation is not None and self.inverse.how.exact
        size = min(plan.solved, plan.read) if solving else plan.examples
        for inputs, targets in self.train.batches(size, self.inverse.device):
            yield slice(start, start + len(inputs)), scorer.batch(inputs, targets)
            start += len(inputs)

    def scorer(self, queries: Queries, relation: Relation | None = None) -> Scores:
        """Influence of batches of training examples on a block of queries, set against `relation` if there is one."""
        ekfac, cosine = self.inverse.approximation, relation == "cosine"
        if isinstance(ekfac, EKFAC):
            pairwise: Scores = self._factored(ekfac, queries)
            query_norms = self._factored_norms(ekfac, queries) if cosine else None
        else:
            solutions, query_norms = self._solved(queries, cosine)
            pairwise = Pairwise(self.gradients, solutions, len(self.train), self.arithmetic.dtype)
        if relation is None:
            return pairwise
        order = order_of(relation)
        norms: Norms = (
            FactoredNorms(ekfac, self.inverse.shift, order)
            if isinstance(ekfac, EKFAC)
            else SolvedNorms(self.gradients, self.inverse.solve, order)
        )
        return RelativeInfluence(pairwise, norms, query_norms)

    def solutions(self, queries: Queries) -> Vectors:
        """s_q = (A + damping I)^-1 g_q of a block of queries, {name: [Q, *shape]}."""
        return self._solved(queries)[0]

    def self_influence(self) -> Iterator[Tensor]:
        """Influence of every training example on its own loss, batch by batch, [B], in nats."""
        ekfac, plan, device = self.inverse.approximation, self.inverse.plan, self.inverse.device
        if isinstance(ekfac, EKFAC):
            own = SelfInfluence(ekfac, self.inverse.shift, len(self.train))
            yield from (own.batch(*batch) for batch in self.train.batches(plan.read, device))
            return
        regularisation = block(self.gradients.problem.regularisation_gradient())
        for batch in self.train.batches(plan.solved, device):
            losses = self._vectors(Queries(TensorData(*batch), self.gradients.problem.objective.loss))
            solved = self.inverse.solve(add_scaled(losses, 1.0, regularisation))
            yield dot(losses, solved) / len(self.train)

    def _solved(self, queries: Queries, normed: bool = False) -> tuple[Vectors, Tensor | None]:
        """The solutions of a block of queries; and the queries' lengths in the inverse curvature, [Q], if asked for."""
        solutions: list[Vectors] = []
        norms: list[Tensor] = []
        for _, part in queries.blocks(self.inverse.plan.solved, self.inverse.device):
            right = self._vectors(part)
            solutions.append(self.inverse.solve(right))
            if normed:
                norms.append(norm_in_metric(right, solutions[-1]))
        return concatenate(solutions), torch.cat(norms) if normed else None

    def _factored(self, ekfac: EKFAC, queries: Queries) -> FactoredPairwise:
        rank, arguments = self.arithmetic.rank, (len(self.train), self.arithmetic.rank, self.arithmetic.dtype)
        pairwise = FactoredPairwise(ekfac, self.inverse.shift, self._read(queries), *arguments)
        if rank is not None:
            self.errors.append(self._low_rank_error(ekfac, pairwise, queries, rank))
        return pairwise

    def _low_rank_error(self, ekfac: EKFAC, pairwise: FactoredPairwise, queries: Queries, rank: int) -> LowRankError:
        """Of a block of queries, on a random sample of it and of the training set."""
        generator = torch.Generator().manual_seed(self.inverse.how.seed)
        sample = torch.randperm(len(queries), generator=generator)[:QUERIES]
        few = Queries(take(queries.data, sample), queries.measure)
        exact = FactoredPairwise(ekfac, self.inverse.shift, self._read(few), len(self.train))
        pairs = [
            (pairwise.batch(*batch)[sample], exact.batch(*batch))
            for batch in self._sample.batches(self.inverse.plan.examples, self.inverse.device)
        ]
        found, truth = (torch.cat(side, dim=1) for side in zip(*pairs, strict=True))
        return low_rank_error(found, truth, rank)

    @cached_property
    def _sample(self) -> TensorData:
        """A random part of the training set."""
        generator = torch.Generator().manual_seed(self.inverse.how.seed)
        return take(self.train, torch.randperm(len(self.train), generator=generator)[:EXAMPLES])

    def _factored_norms(self, ekfac: EKFAC, queries: Queries) -> Tensor:
        shift = self.inverse.shift
        squares = [
            quadratic_form(ekfac, readings, lambda values: 1 / (values + shift)) for readings in self._read(queries)
        ]
        return torch.cat(squares).sqrt()

    def _vectors(self, queries: Queries) -> Vectors:
        """g_q of a block of queries, {name: [Q, *shape]}."""
        return concatenate([as_vectors(self.gradients, readings) for readings in self._read(queries)])

    def _read(self, queries: Queries) -> Iterator[Readings]:
        """The gradients of a block of queries, a few at a time."""
        plan = self.inverse.plan
        for inputs, targets in queries.data.batches(min(plan.read, plan.solved), self.inverse.device):
            yield self.gradients.read(inputs, targets=targets, measurement=queries.measure)
