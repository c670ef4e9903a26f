"""The whole matrix, factored once: exact for problems small enough to afford it."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from influence.curvature.dense import entries
from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import Certificate, NotPositiveDefiniteError, Solution, normalised, residual, within
from influence.layout import Layout
from influence.vectors import Vectors, add_scaled, count, scaled

Inverse = Callable[[Vectors], Vectors]

REFINEMENTS = 2  # times that the residual is solved for
LARGE = 2048  # parameters from which float32 is tried first where the operator is in it: half the memory and time


def direct(operator: LinearOperator, right: Vectors, damping: float = 0.0, tolerance: float = 1e-6) -> Solution:
    """Solve (A + damping I) x = b by Cholesky decomposition. Arguments and errors: see `Direct`, which can be kept."""
    return Direct(operator, {name: value[0] for name, value in right.items()}, damping).solve(right, tolerance)


class Direct:
    """(A + damping I)^-1 by Cholesky decomposition, with iterative refinement where precision asks for it.

    The matrix is made when it is first needed, and factored in its own place: the memory is that of one matrix. Where
    there are many parameters in float32 it is factored in float32, and anew in float64 if that is not enough.

    Args:
        operator: A.
        like: one vector of the space, {name: [*shape]}, such as `Problem.parameters`.
        damping: added to A in absolute units.

    Raises:
        ValueError, NotPositiveDefiniteError, FloatingPointError: on first use, see `solve`.
    """

    def __init__(self, operator: LinearOperator, like: Mapping[str, Tensor], damping: float = 0.0) -> None:
        self.operator, self.damping = operator + damping, damping
        self.like, self.layout = dict(like), Layout.of(like)
        self._own = next(iter(like.values())).dtype
        single = self.layout.size > LARGE and self._own == torch.float32
        self._dtype = torch.float32 if single else torch.float64
        self._factor: Tensor | None = None  # L of L L^T, lower triangular, [P, P]

    def solve(self, right: Vectors, tolerance: float = 1e-6) -> Solution:
        """x of every b of a block, with its certificate.

        Args:
            right: the b, {name: [K, *shape]}.
            tolerance: relative residual up to which a column counts as converged.

        Raises:
            ValueError: there are too many parameters for a dense matrix.
            NotPositiveDefiniteError: A + damping I is not positive definite; says which damping would do.
            FloatingPointError: a right-hand side or a product was not finite.
        """
        _, products = self._prepared()
        solution = refined(self.operator, self, right, tolerance, products)
        if self._dtype == torch.float64 or bool(solution.certificate.converged.all()):
            return solution
        self._dtype, self._factor = torch.float64, None
        _, products = self._prepared()
        return refined(self.operator, self, right, tolerance, products + solution.certificate.operator_products)

    def __call__(self, vectors: Vectors) -> Vectors:
        """(A + damping I)^-1 of a block, without refinement or certificate. Errors: see `solve`."""
        factor, _ = self._prepared()
        flat = self.layout.flatten(vectors)
        return self.layout.unflatten(solve_factored(factor, flat.to(factor.dtype)).to(flat.dtype))

    def _prepared(self) -> tuple[Tensor, int]:
        """The factor, and the vectors that the operator multiplied for it just now."""
        products = 0
        while self._factor is None:
            matrix, made = entries(self.operator, self.like, self._dtype)
            rounding = self._rounding(matrix)
            factor, smallest = factor_in_place(matrix)
            products += made
            if smallest > rounding:
                self._factor = factor
            elif self._dtype == torch.float32:
                self._dtype = torch.float64
            else:
                del matrix, factor
                raise self._refusal(rounding)
        return self._factor, products

    def _rounding(self, matrix: Tensor) -> float:
        """What an eigenvalue may be off by: errors of entries add up like the square root of their number."""
        eps = max(torch.finfo(self._own).eps, torch.finfo(matrix.dtype).eps)
        return 10 * len(matrix) ** 0.5 * eps * float(matrix.diagonal().abs().max())

    def _refusal(self, rounding: float) -> NotPositiveDefiniteError:
        """What to say of a matrix whose pivots are not clear of rounding: its smallest eigenvalue is not either."""
        values = torch.linalg.eigvalsh(entries(self.operator, self.like, torch.float64)[0])
        smallest = float(values[0])
        # A little more than what is missing, since it is read with three digits.
        enough = self.damping - 1.01 * min(smallest, 0.0) + 10 * rounding + 1e-6 * float(values.abs().max())
        return NotPositiveDefiniteError(
            f"the matrix is not positive definite with damping {self.damping:g}: its smallest eigenvalue is "
            f"{smallest:.3g}; damping of {enough:.3g} or more would do"
        )


def refined(operator: LinearOperator, inverse: Inverse, right: Vectors, tolerance: float, products: int) -> Solution:
    """Iterative refinement: the residual, in the operator's own precision, is solved for again.

    Args:
        operator: A, damping included.
        inverse: A^-1 of a block, up to rounding.
        right: the b, {name: [K, *shape]}.
        tolerance: relative residual up to which a column counts as converged.
        products: vectors that the operator multiplied before.

    Raises:
        FloatingPointError: a right-hand side or a product was not finite.
    """
    unit, scale = normalised(right)
    vectors = inverse(unit)
    for remaining in reversed(range(REFINEMENTS + 1)):
        left, relative = residual(operator, unit, vectors)
        products += count(right)
        if not remaining or bool((relative <= tolerance).all()):
            break
        vectors = add_scaled(vectors, 1.0, inverse(left))
    once, never = torch.ones_like(relative).long(), torch.zeros_like(relative).bool()
    certificate = Certificate(relative, once, within(relative, tolerance), never, never, products)
    return Solution(scaled(scale, vectors), certificate)


def factor_in_place(matrix: Tensor) -> tuple[Tensor, float]:
    """L of L L^T in the memory of a symmetric matrix [P, P], and its smallest pivot squared; 0 where it failed."""
    # By columns, as LAPACK wants it, so that nothing is copied.
    factor, failure = matrix.mT, torch.empty((), dtype=torch.int32, device=matrix.device)
    torch.linalg.cholesky_ex(factor, out=(factor, failure))
    return factor, 0.0 if int(failure) else float(factor.diagonal().min()) ** 2


def solve_factored(factor: Tensor, right: Tensor) -> Tensor:
    """(L L^T)^-1 of every row of [K, P]; unlike `torch.cholesky_solve`, with no copy of L."""
    half = torch.linalg.solve_triangular(factor.mT, right, upper=True, left=False)
    return torch.linalg.solve_triangular(factor, half, upper=False, left=False)
