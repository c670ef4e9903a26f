"""(curvature + damping * I)^-1 by the curvature and the solver that were asked for."""

from typing import Literal, get_args

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
from influence.layers import PerExampleGradients
from influence.problem import Data
from influence.vectors import Vectors

Curvature = Literal["hessian", "gauss-newton", "ekfac", "kfac", "diagonal", "identity"]
SolverName = Literal["direct", "conjugate-gradient", "lissa", "arnoldi", "nystrom", "eigen"]

EXACT_LABELS = 32  # up to here the expectation over labels is exact


class InverseCurvature:
    """Solves (A + damping * I) x = b for blocks of b.

    Args:
        gradients: reads per-example gradients of the problem.
        train: the training set.
        curvature: A: the exact `hessian` or `gauss-newton`, each with the regularisation's, solved by `solver`; or an
            approximation that is inverted in closed form.
        solver: for the exact curvatures.
        damping: absolute, or relative to the curvature's mean eigenvalue; with `hessian`, to Gauss-Newton's.
        memory_limit: bytes for intermediate results.
        fit_batch: examples at once where an approximation is fitted.
        tolerance: relative residual to which systems are solved.
        max_iterations: of the iterative solvers.

    Attributes:
        approximation: the fitted curvature; beside an exact one, what preconditions it and tells its mean eigenvalue.
        operator: the exact curvature with the regularisation's, undamped; None where an approximation is inverted.
        damping: the number added to the diagonal.
        certificates: of the blocks solved since they were last cleared.

    Raises:
        ValueError: a name is unknown.
    """

    def __init__(
        self,
        gradients: PerExampleGradients,
        train: Data,
        curvature: Curvature,
        solver: SolverName,
        damping: Damping,
        memory_limit: int,
        fit_batch: int,
        tolerance: float,
        max_iterations: int,
    ) -> None:
        if curvature not in get_args(Curvature):
            raise ValueError(f"curvature is one of {', '.join(get_args(Curvature))}, not {curvature!r}")
        if solver not in get_args(SolverName):
            raise ValueError(f"solver is one of {', '.join(get_args(SolverName))}, not {solver!r}")
        self.gradients, self.train = gradients, train
        self.curvature, self.solver = curvature, solver
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.approximation = self._fit(isinstance(damping, Relative), fit_batch)
        self.damping = absolute(damping, self.approximation.mean_eigenvalue() if self.approximation else 0.0)
        self.operator = self._exact_operator(memory_limit)
        self.certificates: list[Certificate] = []

    @property
    def shift(self) -> float:
        """What the approximations' eigenvalues are raised by: damping, and weight decay taken as that of every
        parameter."""
        return self.damping + self.gradients.problem.objective.weight_decay

    def solve(self, right: Vectors) -> Vectors:
        """(A + damping * I)^-1 of every vector of a block; what a solver says of its answer is kept."""
        if self.operator is None:
            assert self.approximation is not None
            return self.approximation.power(right, -1.0, self.shift)
        solution = self._solution(self.operator, right)
        self.certificates.append(solution.certificate)
        return solution.vectors

    def _fit(self, mean_needed: bool, batch: int) -> EKFAC | Diagonal | Identity | None:
        arguments = (self.gradients, self.train, batch, EXACT_LABELS)
        match self.curvature:
            case "kfac":
                return fit_kfac(*arguments)
            case "diagonal":
                return fit_diagonal(*arguments)
            case "identity":
                return Identity()
        preconditioned = self.curvature == "gauss-newton" and self.solver == "conjugate-gradient"
        return fit_ekfac(*arguments) if self.curvature == "ekfac" or preconditioned or mean_needed else None

    def _exact_operator(self, memory_limit: int) -> LinearOperator | None:
        problem = self.gradients.problem
        if self.curvature == "hessian":
            return Hessian(problem, self.train, memory_limit) + Regularisation(problem)
        if self.curvature == "gauss-newton":
            return choose_gauss_newton(self.gradients, self.train, memory_limit) + Regularisation(problem)
        return None

    def _solution(self, operator: LinearOperator, right: Vectors) -> Solution:
        match self.solver:
            case "direct":
                return direct(operator, right, self.damping, self.tolerance)
            case "lissa":
                return lissa(operator + self.damping, right, self.tolerance, self.max_iterations)
            case "arnoldi":
                return arnoldi(operator, right, self.damping, tolerance=self.tolerance)
            case "nystrom":
                return nystrom(operator, right, self.damping, tolerance=self.tolerance)
            case "eigen":
                return eigen(operator, right, self.damping, tolerance=self.tolerance)
        damped = operator + self.damping
        return conjugate_gradient(damped, right, self.tolerance, self.max_iterations, self._preconditioner())

    def _preconditioner(self) -> Preconditioner | None:
        """The inverse of EK-FAC, where it is fitted and has one."""
        ekfac, shift = self.approximation, self.shift
        if not isinstance(ekfac, EKFAC) or self.curvature != "gauss-newton" or (shift <= 0 and ekfac.is_singular()):
            return None
        return lambda vectors: ekfac.power(vectors, -1.0, shift)
