"""The face of the library: a model, what it was trained on, and every question one may ask of the two."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from influence.bytesize import parse_bytes
from influence.curvature import (
    EKFAC,
    Diagonal,
    Hessian,
    Identity,
    LinearOperator,
    Regularisation,
    choose_gauss_newton,
    fit_diagonal,
    fit_ekfac,
    fit_kfac,
)
from influence.damping import Damping, Relative, absolute
from influence.inverse import (
    Certificate,
    Preconditioner,
    Solution,
    arnoldi,
    conjugate_gradient,
    direct,
    eigen,
    lissa,
    nystrom,
)
from influence.layers import PerExampleGradients, as_vectors
from influence.memory import gradient_batch
from influence.objective import Objective
from influence.problem import Data, Problem, TensorData
from influence.scores import Pairwise, SelfInfluence, TwoSidedTop
from influence.vectors import Vectors, block, concatenate, dot

Curvature = Literal["hessian", "gauss-newton", "ekfac", "kfac", "diagonal", "identity"]
SolverName = Literal["direct", "conjugate-gradient", "lissa", "arnoldi", "nystrom", "eigen"]
Examples = tuple[Tensor, Tensor]  # inputs [N, ...] and targets [N]

EXACT_LABELS = 32  # up to here the expectation over labels is exact
AT_ONCE = 64  # vectors solved for in one block


@dataclass
class EngineCertificate:
    """What the engine did and how far its last answer can be trusted.

    Attributes:
        damping: the number added to the curvature's diagonal.
        solves: certificates of the blocks solved for the last answer; empty where it needed none.
        seconds: wall-clock time of the last answer.
    """

    damping: float
    solves: list[Certificate] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def largest_residual(self) -> float:
        """Largest relative residual of the last answer's solves; 0 where it needed none."""
        return max((float(solve.relative_residual.max()) for solve in self.solves), default=0.0)

    @property
    def converged(self) -> bool:
        """Whether every solve of the last answer met the tolerance."""
        return all(bool(solve.converged.all()) for solve in self.solves)

    @property
    def operator_products(self) -> int:
        """Vectors multiplied by the curvature for the last answer."""
        return sum(solve.operator_products for solve in self.solves)


class Influence:
    """Influence of training examples on anything a trained model does.

    Scores are in nats (the unit of the loss): the predicted rise of a query's loss if a training example were left out.
    Positive: helpful; negative: harmful (Koh & Liang 2017, equation 2, divided by -n).

    Args:
        model: maps inputs [B, ...] to outputs [B, C]; put in evaluation mode.
        objective: what it was trained on.
        train: the training set, as two tensors or as `influence.problem.Data`.
        curvature: the exact `hessian` or `gauss-newton` (each with the regularisation's), solved by `solver`; or an
            approximation that is inverted in closed form: `ekfac`, `kfac`, `diagonal`, `identity`.
        solver: for the exact curvatures.
        damping: absolute, or `Relative(share)` of the curvature's mean eigenvalue; with `hessian`, of Gauss-Newton's.
        device: where to compute; None: where the model is.
        memory_limit: bytes for intermediate results, as a number or as `4GiB`.
        parameters: names of the parameters that count; None: all that require a gradient.
        tolerance: relative residual to which systems are solved.
        max_iterations: of the iterative solvers.

    Raises:
        ValueError: a name is unknown, there are no examples, or no parameter.

    Attributes:
        certificate: of the last answer.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        train: Examples | Data,
        curvature: Curvature = "gauss-newton",
        solver: SolverName = "conjugate-gradient",
        damping: Damping = 0.0,
        device: torch.device | str | None = None,
        memory_limit: int | str = "4GiB",
        parameters: list[str] | None = None,
        tolerance: float = 1e-4,
        max_iterations: int = 1000,
    ) -> None:
        if curvature not in get_args(Curvature):
            raise ValueError(f"curvature is one of {', '.join(get_args(Curvature))}, not {curvature!r}")
        if solver not in get_args(SolverName):
            raise ValueError(f"solver is one of {', '.join(get_args(SolverName))}, not {solver!r}")
        self.train: Data = TensorData(*train) if isinstance(train, tuple) else train
        if not len(self.train):
            raise ValueError("the training set is empty")
        self.problem = Problem(model if device is None else model.to(device), objective, parameters)
        self.curvature, self.solver = curvature, solver
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self._memory = parse_bytes(memory_limit) if isinstance(memory_limit, str) else memory_limit
        probe = next(iter(self.train.batches(2, self.problem.device)))[0]
        self._gradients = PerExampleGradients(self.problem, probe)
        self._batch = gradient_batch(self.problem, probe[:1], self._memory)
        outputs = self.problem.outputs(self.problem.parameters, probe[:1]).shape[-1]
        self._fit_batch = max(1, self._batch // min(outputs, EXACT_LABELS))
        self._approximation = self._fit(curvature, damping)
        mean = self._approximation.mean_eigenvalue() if self._approximation is not None else 0.0
        self.certificate = EngineCertificate(absolute(damping, mean))
        self._operator = self._exact_operator()

    def pairwise(self, queries: Examples) -> Tensor:
        """Influence of every training example on every query, [Q, N], in nats."""
        with self._answer():
            pairwise = Pairwise(self._gradients, self._solve_queries(queries), len(self.train))
            return torch.cat([pairwise.batch(*batch) for batch in self._batches()], dim=1)

    def top(self, queries: Examples, k: int = 20) -> TwoSidedTop:
        """The k most helpful and k most harmful training examples of every query; memory does not grow with N."""
        with self._answer():
            pairwise = Pairwise(self._gradients, self._solve_queries(queries), len(self.train))
            top, start = TwoSidedTop(len(queries[1]), k), 0
            for inputs, targets in self._batches():
                top.update(pairwise.batch(inputs, targets), torch.arange(start, start + len(targets)))
                start += len(targets)
            return top

    def self_influence(self) -> Tensor:
        """Influence of every training example on its own loss, [N], in nats.

        Through EK-FAC or K-FAC no per-example gradient is built. With an exact curvature a system is solved for every
        training example, which only small problems afford.
        """
        with self._answer():
            if isinstance(self._approximation, EKFAC) and self._operator is None:
                own = SelfInfluence(self._approximation, self._shift, len(self.train))
                return torch.cat([own.batch(*batch) for batch in self._batches()])
            return torch.cat([self._solved_self_influence(*batch) for batch in self._batches()])

    @property
    def _shift(self) -> float:
        """What the approximations' eigenvalues are raised by: damping, and weight decay taken as that of every
        parameter."""
        return self.certificate.damping + self.problem.objective.weight_decay

    def _fit(self, curvature: Curvature, damping: Damping) -> EKFAC | Diagonal | Identity | None:
        """The approximation itself; for the exact curvatures the preconditioner and the mean eigenvalue's source."""
        arguments = (self._gradients, self.train, self._fit_batch, EXACT_LABELS)
        if curvature == "kfac":
            return fit_kfac(*arguments)
        if curvature == "diagonal":
            return fit_diagonal(*arguments)
        if curvature == "identity":
            return Identity()
        preconditioned = curvature == "gauss-newton" and self.solver == "conjugate-gradient"
        if curvature == "ekfac" or preconditioned or isinstance(damping, Relative):
            return fit_ekfac(*arguments)
        return None

    def _exact_operator(self) -> LinearOperator | None:
        """The curvature with the regularisation's, undamped; None where an approximation is inverted instead."""
        if self.curvature == "hessian":
            return Hessian(self.problem, self.train, self._memory) + Regularisation(self.problem)
        if self.curvature != "gauss-newton":
            return None
        return choose_gauss_newton(self._gradients, self.train, self._memory) + Regularisation(self.problem)

    def _solve_queries(self, queries: Examples) -> Vectors:
        data = TensorData(*queries)
        parts = []
        for inputs, targets in data.batches(AT_ONCE, self.problem.device):
            parts.append(self._solve(as_vectors(self._gradients, self._gradients.read(inputs, targets=targets))))
        return concatenate(parts)

    def _solve(self, right: Vectors) -> Vectors:
        """(curvature + damping I)^-1 of a block, its certificate kept."""
        if self._operator is None:
            assert self._approximation is not None
            return self._approximation.power(right, -1.0, self._shift)
        solution = self._solution(self._operator, right, self.certificate.damping)
        self.certificate.solves.append(solution.certificate)
        return solution.vectors

    def _solution(self, operator: LinearOperator, right: Vectors, damping: float) -> Solution:
        match self.solver:
            case "direct":
                return direct(operator, right, damping, self.tolerance)
            case "lissa":
                return lissa(operator + damping, right, self.tolerance, self.max_iterations)
            case "arnoldi":
                return arnoldi(operator, right, damping, tolerance=self.tolerance)
            case "nystrom":
                return nystrom(operator, right, damping, tolerance=self.tolerance)
            case "eigen":
                return eigen(operator, right, damping, tolerance=self.tolerance)
        return conjugate_gradient(
            operator + damping, right, self.tolerance, self.max_iterations, self._preconditioner()
        )

    def _preconditioner(self) -> Preconditioner | None:
        """The inverse of EK-FAC, where it is fitted and has one."""
        ekfac, shift = self._approximation, self._shift
        if not isinstance(ekfac, EKFAC) or self.curvature != "gauss-newton" or (shift <= 0 and ekfac.is_singular()):
            return None
        return lambda vectors: ekfac.power(vectors, -1.0, shift)

    def _solved_self_influence(self, inputs: Tensor, targets: Tensor) -> Tensor:
        regularisation = block(self.problem.regularisation_gradient())
        found = []
        for start in range(0, len(inputs), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            own = as_vectors(self._gradients, self._gradients.read(inputs[part], targets=targets[part]))
            share = {name: value + regularisation[name] for name, value in own.items()}
            found.append(dot(own, self._solve(share)) / len(self.train))
        return torch.cat(found)

    def _batches(self) -> Iterator[Examples]:
        return self.train.batches(self._batch, self.problem.device)

    @contextmanager
    def _answer(self) -> Iterator[None]:
        """Keep time and certificates of one answer."""
        self.certificate = EngineCertificate(self.certificate.damping)
        start = time.monotonic()
        yield
        self.certificate.seconds = time.monotonic() - start
