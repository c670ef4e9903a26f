"""(curvature + damping * I)^-1 by the curvature and the solver that were asked for."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch

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
    Direct,
    Leverage,
    Preconditioner,
    PreconditionerName,
    Solution,
    arnoldi,
    choose_direct,
    conjugate_gradient,
    eigen,
    lissa,
    make_preconditioner,
    nystrom,
)
from influence.inverse.certificate import certify
from influence.layers import PerExampleGradients
from influence.memory_plan import MemoryPlan
from influence.problem import Data
from influence.vectors import Vectors

Curvature = Literal["hessian", "gauss-newton", "ekfac", "kfac", "diagonal", "identity"]
SolverName = Literal["direct", "conjugate-gradient", "lissa", "arnoldi", "nystrom", "eigen"]

EXACT = ("hessian", "gauss-newton")  # curvatures that a solver inverts
EXACT_LABELS = 32  # up to here the expectation over labels is exact


@dataclass(frozen=True)
class Inversion:
    """How a curvature is to be inverted.

    Attributes:
        curvature: the exact `hessian` or `gauss-newton`, solved by `solver`; or an approximation that is inverted in
            closed form.
        solver: for the exact curvatures.
        damping: absolute, or relative to the curvature's mean eigenvalue; with `hessian`, to Gauss-Newton's.
        tolerance: relative residual to which systems are solved.
        max_iterations: of the iterative solvers.
        preconditioner: of conjugate gradients.
        seed: of what the preconditioner and the solvers draw.

    Raises:
        ValueError: a name is unknown, or a number out of range.
    """

    curvature: Curvature = "gauss-newton"
    solver: SolverName = "conjugate-gradient"
    damping: Damping = 0.0
    tolerance: float = 1e-4
    max_iterations: int = 1000
    preconditioner: PreconditionerName = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        known: dict[str, Any] = {
            "curvature": Curvature,
            "solver": SolverName,
            "preconditioner": PreconditionerName,
        }
        for name, literal in known.items():
            if getattr(self, name) not in get_args(literal):
                raise ValueError(f"{name} is one of {', '.join(get_args(literal))}, not {getattr(self, name)!r}")
        if not isinstance(self.damping, Relative) and not 0 <= self.damping < float("inf"):
            raise ValueError(f"damping is a number from 0 on, or Relative(share), not {self.damping}")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {self.tolerance}")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {self.max_iterations}")

    @property
    def exact(self) -> bool:
        """Whether a solver inverts the curvature."""
        return self.curvature in EXACT


class InverseCurvature:
    """Solves (A + damping * I) x = b for blocks of b.

    Args:
        gradients: reads per-example gradients of the problem.
        train: the training set.
        how: which A, and how it is inverted.
        plan: the memory there is.

    Attributes:
        approximation: the fitted curvature that is inverted in closed form; None where an exact one is solved with.
        curvature: the exact curvature without the regularisation's; None where an approximation is inverted.
        operator: A, undamped: the exact curvature with the regularisation's, or the approximation with weight decay
            taken as that of every parameter.
        damping: the number added to the diagonal.
        certificates: of the blocks solved since they were last cleared.

    Raises:
        ValueError: a direct solver's matrix is too large for the memory.
        ZeroDivisionError: a preconditioner is singular.
    """

    def __init__(self, gradients: PerExampleGradients, train: Data, how: Inversion, plan: MemoryPlan) -> None:
        self.gradients, self.train, self.how, self.plan = gradients, train, how, plan
        self.certificates: list[Certificate] = []
        self.approximation = self._fitted()
        self.damping = self._absolute_damping()
        problem = gradients.problem
        self.curvature = self._exact_curvature()
        if self.curvature is not None:
            self.operator: LinearOperator = self.curvature + Regularisation(problem)
        else:
            assert self.approximation is not None
            self.operator = self.approximation + problem.objective.weight_decay
        self.preconditioner = self._preconditioner()

    @property
    def device(self) -> torch.device:
        return self.gradients.problem.device

    @property
    def shift(self) -> float:
        """What the approximations' eigenvalues are raised by: damping, and weight decay taken as that of every
        parameter."""
        return self.damping + self.gradients.problem.objective.weight_decay

    def solve(self, right: Vectors) -> Vectors:
        """(A + damping * I)^-1 of every vector of a block; what is said of the answer is kept."""
        solution = self._solution(right)
        self.certificates.append(solution.certificate)
        return solution.vectors

    def gauss_newton(self, data: Data) -> LinearOperator:
        """The Gauss-Newton matrix of the mean loss over other examples, without the regularisation."""
        return choose_gauss_newton(self.gradients, data, self.plan.working)

    def _fitted(self) -> EKFAC | Diagonal | Identity | None:
        arguments = (self.gradients, self.train, self.plan.read, EXACT_LABELS)
        match self.how.curvature:
            case "ekfac":
                return fit_ekfac(*arguments)
            case "kfac":
                return fit_kfac(*arguments)
            case "diagonal":
                return fit_diagonal(*arguments)
            case "identity":
                return Identity()
        return None

    def _absolute_damping(self) -> float:
        damping = self.how.damping
        if not isinstance(damping, Relative):
            return damping
        # The diagonal has the trace of the Gauss-Newton matrix, for one pass over the data.
        known = self.approximation or fit_diagonal(self.gradients, self.train, self.plan.read, EXACT_LABELS)
        return absolute(damping, known.mean_eigenvalue())

    def _exact_curvature(self) -> LinearOperator | None:
        if self.how.curvature == "hessian":
            return Hessian(self.gradients.problem, self.train, self.plan.curvature)
        if self.how.curvature == "gauss-newton":
            return choose_gauss_newton(self.gradients, self.train, self.plan.curvature)
        return None

    def _preconditioner(self) -> Preconditioner | None:
        if self.curvature is None or self.how.solver != "conjugate-gradient":
            return None
        arguments = (self.operator, self.gradients, self.train, self.damping, self.plan.preconditioner, self.how.seed)
        return make_preconditioner(self.how.preconditioner, *arguments)

    def _solution(self, right: Vectors) -> Solution:
        tolerance, seed = self.how.tolerance, self.how.seed
        if self.approximation is not None:
            inverted = self.approximation.power(right, -1.0, self.shift)
            return certify(self.operator + self.damping, right, inverted, tolerance, products=0)
        damped = self.operator + self.damping
        match self.how.solver:
            case "direct":
                return self.direct.solve(right, tolerance)
            case "lissa":
                return lissa(damped, right, tolerance, self.how.max_iterations)
            case "arnoldi":
                return arnoldi(self.operator, right, self.damping, tolerance=tolerance, seed=seed)
            case "nystrom":
                return nystrom(self.operator, right, self.damping, tolerance=tolerance, seed=seed)
            case "eigen":
                return eigen(self.operator, right, self.damping, tolerance=tolerance, seed=seed)
        return conjugate_gradient(damped, right, tolerance, self.how.max_iterations, self.preconditioner)

    @cached_property
    def direct(self) -> Direct | Leverage:
        """The exact curvature, factored when it is first needed and kept."""
        assert self.curvature is not None
        return choose_direct(self.curvature, self.gradients.problem, self.damping, self.plan.curvature)
