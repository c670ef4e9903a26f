"""From an inverse curvature to what scores training examples: the queries' systems solved, and the scorers made."""

from collections.abc import Iterator

import torch
from torch import Tensor

from influence.curvature import EKFAC
from influence.inverse_curvature import InverseCurvature
from influence.layers import as_vectors
from influence.queries import Queries
from influence.scores import (
    FactoredNorms,
    Pairwise,
    RelativeInfluence,
    SelfInfluence,
    SolvedNorms,
    norm_in_metric,
    order_of,
)
from influence.scores.norms import Norms
from influence.scores.relative import Relation
from influence.vectors import Vectors, add_scaled, block, concatenate, dot


class Scoring:
    """Makes what scores batches of training examples.

    Args:
        inverse: (A + damping I)^-1; its memory plan says how much is done at once.
    """

    def __init__(self, inverse: InverseCurvature) -> None:
        self.inverse, self.gradients, self.train = inverse, inverse.gradients, inverse.train

    def scores(self, queries: Queries, relation: Relation | None) -> Iterator[tuple[slice, Tensor]]:
        """Scores [Q, B] of a block of queries, one batch of training examples after the other, and where they stand."""
        scorer, start = self.scorer(queries, relation), 0
        plan = self.inverse.plan
        solving = relation is not None and self.inverse.how.exact
        for inputs, targets in self.train.batches(plan.solved if solving else plan.examples, self.inverse.device):
            yield slice(start, start + len(inputs)), scorer.batch(inputs, targets)
            start += len(inputs)

    def scorer(self, queries: Queries, relation: Relation | None = None) -> Pairwise | RelativeInfluence:
        """Influence of batches of training examples on a block of queries, set against `relation` if there is one."""
        if relation is None:
            return self.pairwise(self.solutions(queries))
        solutions, query_norms = self._solved(queries, relation == "cosine")
        order, ekfac = order_of(relation), self.inverse.approximation
        norms: Norms = (
            FactoredNorms(ekfac, self.inverse.shift, order)
            if isinstance(ekfac, EKFAC)
            else SolvedNorms(self.gradients, self.inverse.solve, order)
        )
        return RelativeInfluence(self.pairwise(solutions), norms, query_norms)

    def pairwise(self, solutions: Vectors) -> Pairwise:
        """Plain influence on queries, from their solutions: made here only."""
        return Pairwise(self.gradients, solutions, len(self.train))

    def solutions(self, queries: Queries) -> Vectors:
        """s_q = (A + damping I)^-1 g_q of a block of queries, {name: [Q, *shape]}."""
        return self._solved(queries)[0]

    def self_influence(self) -> Iterator[Tensor]:
        """Influence of every training example on its own loss, batch by batch, [B], in nats."""
        ekfac, plan, device = self.inverse.approximation, self.inverse.plan, self.inverse.device
        if isinstance(ekfac, EKFAC):
            own = SelfInfluence(ekfac, self.inverse.shift, len(self.train))
            yield from (own.batch(*batch) for batch in self.train.batches(plan.examples, device))
            return
        regularisation = block(self.gradients.problem.regularisation_gradient())
        for inputs, targets in self.train.batches(plan.solved, device):
            losses = as_vectors(self.gradients, self.gradients.read(inputs, targets=targets))
            solved = self.inverse.solve(add_scaled(losses, 1.0, regularisation))
            yield dot(losses, solved) / len(self.train)

    def _solved(self, queries: Queries, normed: bool = False) -> tuple[Vectors, Tensor | None]:
        """The solutions of a block of queries; and the queries' lengths in the inverse curvature, [Q], if asked for."""
        solutions: list[Vectors] = []
        norms: list[Tensor] = []
        for inputs, targets in queries.data.batches(self.inverse.plan.solved, self.inverse.device):
            readings = self.gradients.read(inputs, targets=targets, measurement=queries.measure)
            right = as_vectors(self.gradients, readings)
            solutions.append(self.inverse.solve(right))
            if normed:
                norms.append(norm_in_metric(right, solutions[-1]))
        return concatenate(solutions), torch.cat(norms) if normed else None
