"""The inverse on the span of a few Ritz vectors (Schioppa et al. 2022, "Scaling up influence functions")."""

import torch

from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import Solution, certify
from influence.inverse.krylov import KrylovSpace
from influence.vectors import Vectors


def arnoldi(
    operator: LinearOperator,
    right: Vectors,
    damping: float = 0.0,
    rank: int = 50,
    steps: int = 100,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Solution:
    """Solve (A + damping I) x = b on the leading Ritz vectors of a Krylov space, dropping what lies outside them.

    A is projected on the space of `steps` products with a random vector; of its eigenpairs the `rank` largest in
    absolute value are kept, and x = V (Theta + damping)^-1 V^T b. Linear in b, cheap once built, and only as good as
    the part of b inside the span: the residual says how good. With `steps` and `rank` of at least P it is exact.

    Args:
        operator: A, symmetric.
        right: the b, {name: [K, *shape]}.
        damping: added to A in absolute units.
        rank: Ritz pairs kept.
        steps: dimension of the Krylov space, all of it held in memory.
        tolerance: relative residual up to which a column counts as converged.
        seed: of the first vector.

    Returns:
        The solution; `negative_curvature` is set if a kept Ritz value plus damping is negative.

    Raises:
        FloatingPointError: a right-hand side or a product was not finite.
    """
    space = KrylovSpace(operator, {name: value[0] for name, value in right.items()}, seed=seed)
    space.grow(steps)
    pairs = space.ritz().leading(rank)
    moved = pairs.values + damping
    # Values that cannot be told from zero would only amplify rounding.
    rounding = torch.finfo(moved.dtype).eps * len(space) * float(moved.abs().max())
    zero = moved.abs() <= rounding
    inverse = torch.where(zero, 0.0, 1.0 / torch.where(zero, 1.0, moved))
    vectors = pairs.as_operator(space.layout).apply(right, inverse)
    negative = bool((moved < -rounding).any())
    return certify(
        operator + damping, right, vectors, tolerance, space.products, len(space), negative_curvature=negative
    )
