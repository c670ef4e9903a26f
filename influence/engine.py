"""The face of the library: a model, what it was trained on, and every question one may ask of the two."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence.bytesize import parse_bytes
from influence.certificate import EngineCertificate
from influence.damping import Damping
from influence.datasets import Examples
from influence.inverse import PreconditionerName
from influence.inverse_curvature import Curvature, InverseCurvature, Inversion, SolverName
from influence.layers import PerExampleGradients
from influence.leaving_out import GroupInfluence, LeavingOut
from influence.measurement import Measurement
from influence.memory_plan import MemoryPlan
from influence.objective import Objective
from influence.peak_memory import PeakMemory
from influence.problem import Data, Problem
from influence.queries import Queries, as_queries, as_train
from influence.scores import TwoSidedTop, first_order_groups, perturbation
from influence.scores.relative import Relation
from influence.scoring import Arithmetic, Scoring
from influence.subset import membership, positions

Indices = Tensor | Sequence[int]  # positions of training examples
Asked = Examples | Data | Dataset[Any]


class Influence:
    """Influence of training examples on anything a trained model does.

    Scores are in the unit of what is measured (nats, for the loss): its predicted change if a training example were
    left out. For the loss of a query, positive is helpful, negative harmful (Koh & Liang 2017, equation 2, divided by
    -n).

    Queries are examples like those of training, in any form that a training set may have. `measurement` says what is
    measured of them: `loss`, `margin`, `log-odds`, `Logit(class)`, or a function of outputs [B, C] and targets [B, ...]
    that gives [B]. Of a margin or a logit positive means that it would rise: the example holds it down.

    Args:
        model: maps inputs [B, ...] to outputs [B, C]; put in evaluation mode.
        objective: what it was trained on.
        train: the training set: two tensors (inputs, targets), a map-style `torch.utils.data.Dataset` of pairs, or
            `influence.problem.Data`.
        curvature: the exact `hessian` or `gauss-newton` (each with the regularisation's), solved by `solver`; or an
            approximation that is inverted in closed form, whatever the solver: `ekfac`, `kfac`, `diagonal`, `identity`.
        solver: for the exact curvatures. `direct` takes the smaller of two matrices: that of the parameters, or that of
            the examples' leverages. `arnoldi`, `nystrom` and `eigen` are approximations of a fixed rank, whose
            residuals say how good they are.
        damping: absolute, or `Relative(share)` of the curvature's mean eigenvalue; with `hessian`, of Gauss-Newton's.
        device: where to compute; None: where the model is.
        memory_limit: bytes for intermediate results, as a number or as `4GiB`. The model, the training set, an
            approximation's factors and what is returned come on top.
        parameters: names of the parameters that count; None: all that require a gradient.
        tolerance: relative residual to which systems are solved.
        max_iterations: of the iterative solvers.
        preconditioner: of conjugate gradients: `auto`, `none`, `subsample`, `ekfac`, `diagonal` or `nystrom`.
        seed: of what preconditioners and solvers draw.
        low_rank: terms of a low-rank inverse of `ekfac` or `kfac` by which scores of pairs are approximated where that
            is cheaper; the error is measured on a sample and kept in the certificate. None: exact.
        score_dtype: in which activations, gradients and solutions are multiplied for scores of pairs: `torch.bfloat16`
            or `torch.float16`, sums being taken in full precision. None: the model's own.

    Raises:
        TypeError: the training set is of no accepted form.
        ValueError: a name is unknown, a number out of range, there is no example or no parameter, or the model or the
            objective cannot take the examples.

    Attributes:
        certificate: of the last answer.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        train: Asked,
        curvature: Curvature = "gauss-newton",
        solver: SolverName = "conjugate-gradient",
        damping: Damping = 0.0,
        device: torch.device | str | None = None,
        memory_limit: int | str = "4GiB",
        parameters: list[str] | None = None,
        tolerance: float = 1e-4,
        max_iterations: int = 1000,
        preconditioner: PreconditionerName = "auto",
        seed: int = 0,
        low_rank: int | None = None,
        score_dtype: torch.dtype | None = None,
    ) -> None:
        arithmetic = Arithmetic(curvature, low_rank, score_dtype)
        how = Inversion(curvature, solver, damping, tolerance, max_iterations, preconditioner, seed)
        memory = parse_bytes(memory_limit) if isinstance(memory_limit, str) else memory_limit
        if memory < 1:
            raise ValueError(f"memory_limit must be positive, got {memory_limit}")
        self.problem = Problem(model if device is None else model.to(device), objective, parameters)
        self.train = as_train(train, self.problem)
        inputs, targets = next(iter(self.train.batches(2, self.problem.device)))
        gradients = PerExampleGradients(self.problem, inputs)
        self._plan = MemoryPlan.of(gradients, inputs[:1], targets[:1], memory, how.exact)
        self._inverse = InverseCurvature(gradients, self.train, how, self._plan)
        self._scoring = Scoring(self._inverse, arithmetic)
        self.certificate = EngineCertificate(self._inverse.damping)

    def pairwise(self, queries: Asked, measurement: Measurement = "loss", relation: Relation | None = None) -> Tensor:
        """Influence of every training example on every query, [Q, N].

        Args:
            queries: Q examples.
            measurement: what is measured of them.
            relation: None, or what influence is set against: `theta-relative` and `loss-relative` (RelatIF), `cosine`;
                see `influence.scores.relative` for their units. With an exact curvature these solve a system for every
                training example, which only small problems afford.

        Raises:
            TypeError, ValueError: see `influence.queries.as_queries`; or the relation is unknown.
        """
        asked = self._asked(queries, measurement, relation)
        with self._answer():
            found = torch.empty(len(asked), len(self.train), dtype=self.problem.dtype, device=self.problem.device)
            for rows, part in self._blocks(asked):
                for columns, scores in self._scoring.scores(part, relation):
                    found[rows, columns] = scores
            return found

    def top(
        self, queries: Asked, k: int = 20, measurement: Measurement = "loss", relation: Relation | None = None
    ) -> TwoSidedTop:
        """The k training examples of largest positive and of largest negative score for every query.

        They are kept while scores stream by: memory does not grow with N.

        Arguments and errors as of `pairwise`; k is at least 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        asked = self._asked(queries, measurement, relation)
        with self._answer():
            tops = []
            for _, part in self._blocks(asked):
                top = TwoSidedTop(len(part), k)
                for columns, scores in self._scoring.scores(part, relation):
                    top.update(scores, torch.arange(columns.start, columns.stop))
                tops.append(top)
            return TwoSidedTop.joined(tops)

    def self_influence(self) -> Tensor:
        """Influence of every training example on its own loss, [N], in nats.

        Through EK-FAC or K-FAC no per-example gradient is built. With another curvature a system is solved for every
        training example, which with an exact one only small problems afford.
        """
        with self._answer():
            return torch.cat(list(self._scoring.self_influence()))

    def group(self, sets: Sequence[Indices], queries: Asked, measurement: Measurement = "loss") -> GroupInfluence:
        """What leaving out whole sets of training examples does to every query, [Q, K]: to first order, and by Newton.

        Args:
            sets: positions of the members of K sets.
            queries: Q examples.
            measurement: what is measured of them.

        Raises:
            ValueError: a set is empty, is everything, or names no such example or one twice; and as of `pairwise`.
        """
        membership(sets, len(self.train))
        asked = self._asked(queries, measurement)
        with self._answer():
            first = torch.cat([self._first_order(part, sets) for _, part in self._blocks(asked)])
            newton, reason = LeavingOut(self._inverse).groups(asked, sets)
            return GroupInfluence(first, newton, reason)

    def leave_one_out(self, queries: Asked, indices: Indices, measurement: Measurement = "loss") -> Tensor:
        """Predicted change of what is measured of every query if each of K examples alone were left out, [Q, K].

        By one Newton step with the leverage of the example (see `influence.scores.newton`), after which the query is
        measured anew: where outputs are linear in the parameters this all but equals training again.

        Args:
            queries: Q examples.
            indices: positions of K training examples.
            measurement: what is measured of the queries.

        Raises:
            ValueError: the curvature allows no Newton step, or there is no such example; and as of `pairwise`.
            NotPositiveDefiniteError: the curvature of what is left is not positive definite.
        """
        indices = positions(indices, len(self.train))
        asked = self._asked(queries, measurement)
        with self._answer():
            return LeavingOut(self._inverse).one_by_one(asked, indices)

    def perturbation(self, query: Asked, indices: Indices, measurement: Measurement = "loss") -> Tensor:
        """Derivative of the influence of K training examples on a query in their inputs, [K, *input shape].

        In the unit of what is measured per unit of input (Koh & Liang 2017, equation 5, divided by -n).

        Args:
            query: one example, in batches of one; with Q of them the answer is [Q, K, *input shape].
            indices: positions of K training examples.
            measurement: what is measured of the query.

        Raises:
            TypeError: the inputs are whole numbers.
            ValueError: there is no such example; and as of `pairwise`.
        """
        indices = positions(indices, len(self.train))
        asked = self._asked(query, measurement)
        with self._answer():
            parts = [
                perturbation(self.problem, self._scoring.solutions(part), self.train, indices, self._plan.working)
                for _, part in self._blocks(asked)
            ]
            found = torch.cat(parts)
            return found[0] if len(asked) == 1 else found

    def _asked(self, queries: Asked, measurement: Measurement, relation: Relation | None = None) -> Queries:
        if relation is not None and relation not in get_args(Relation):
            raise ValueError(f"relation is None or one of {', '.join(get_args(Relation))}, not {relation!r}")
        return as_queries(queries, measurement, self.problem, self.train)

    def _first_order(self, queries: Queries, sets: Sequence[Indices]) -> Tensor:
        return first_order_groups(self._scoring.scorer(queries), self.train, sets, self._plan.examples)

    def _blocks(self, queries: Queries) -> Iterator[tuple[slice, Queries]]:
        """As many queries at a time as memory allows, and where they stand."""
        return queries.blocks(self._plan.scored, self.problem.device)

    @contextmanager
    def _answer(self) -> Iterator[None]:
        """Keep certificates, time and memory of one answer."""
        self._inverse.certificates, self._scoring.errors = [], []
        self.certificate = EngineCertificate(self._inverse.damping, self._inverse.certificates, self._scoring.errors)
        start, memory = time.monotonic(), PeakMemory(self.problem.device)
        yield
        self.certificate.seconds, self.certificate.peak_memory = time.monotonic() - start, memory.growth()
