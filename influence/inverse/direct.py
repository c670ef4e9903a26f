"""The whole matrix, factored once: exact for problems small enough to afford it."""

import torch

from influence.curvature.dense import Dense
from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import NotPositiveDefiniteError, Solution, certify, normalised, residual
from influence.vectors import Vectors, add_scaled, count, scaled

REFINEMENTS = 2  # the residual in the operator's own precision, solved for again


class Cholesky:
    """(A + damping I)^-1 as a function of a block; factored in float64.

    Args:
        matrix: A.
        damping: added to its diagonal.

    Raises:
        NotPositiveDefiniteError: A + damping I is not positive definite.
    """

    def __init__(self, matrix: Dense, damping: float = 0.0) -> None:
        self.layout = matrix.layout
        moved = matrix.matrix.double()
        moved = moved + damping * torch.eye(len(moved), dtype=moved.dtype, device=moved.device)
        self.factor, failure = torch.linalg.cholesky_ex(moved)
        rounding = len(moved) * torch.finfo(matrix.matrix.dtype).eps * float(moved.diagonal().abs().max())
        if int(failure) or float(self.factor.diagonal().min()) ** 2 <= rounding:
            values = torch.linalg.eigvalsh(moved)
            smallest = float(values[0])
            if smallest <= rounding:
                # A little more than what is missing, since it is read with three digits.
                enough = damping - 1.01 * min(smallest, 0.0) + 10 * rounding + 1e-6 * float(values.abs().max())
                raise NotPositiveDefiniteError(
                    f"the matrix is not positive definite with damping {damping:g}: its smallest eigenvalue is "
                    f"{smallest:.3g}; damping of {enough:.3g} or more would do"
                )

    def __call__(self, vectors: Vectors) -> Vectors:
        flat = self.layout.flatten(vectors)
        answer = torch.cholesky_solve(flat.double().T, self.factor).T
        return self.layout.unflatten(answer.to(flat.dtype))


def direct(operator: LinearOperator, right: Vectors, damping: float = 0.0, tolerance: float = 1e-6) -> Solution:
    """Solve (A + damping I) x = b by Cholesky decomposition, with iterative refinement where precision asks for it.

    Args:
        operator: A; made dense first unless it is a `Dense` already.
        right: the b, {name: [K, *shape]}.
        damping: added to A in absolute units.
        tolerance: relative residual up to which a column counts as converged.

    Raises:
        ValueError: there are too many parameters for a dense matrix.
        NotPositiveDefiniteError: A + damping I is not positive definite; says which damping would do.
        FloatingPointError: a right-hand side or a product was not finite.
    """
    like = {name: value[0] for name, value in right.items()}
    matrix = operator if isinstance(operator, Dense) else Dense.of(operator, like)
    products = 0 if matrix is operator else matrix.layout.size
    solve, moved = Cholesky(matrix, damping), operator + damping
    unit, scale = normalised(right)
    vectors = solve(unit)
    for _ in range(REFINEMENTS):
        left, relative = residual(moved, unit, vectors)
        products += count(right)
        if bool((relative <= tolerance).all()):
            break
        vectors = add_scaled(vectors, 1.0, solve(left))
    return certify(moved, right, scaled(scale, vectors), tolerance, products)
