"""The inverse from the leading eigenpairs, with everything else at the damping."""

from collections.abc import Mapping

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import NotPositiveDefiniteError, Solution, certify
from influence.inverse.krylov import KrylovSpace, RitzPairs
from influence.vectors import Vectors


def leading_eigenpairs(
    operator: LinearOperator,
    like: Mapping[str, Tensor],
    rank: int,
    accuracy: float = 1e-6,
    largest_space: int | None = None,
    seed: int = 0,
) -> tuple[RitzPairs, KrylovSpace]:
    """The `rank` eigenpairs of largest absolute value, from a block Krylov space grown until they stand still.

    Args:
        operator: A, symmetric.
        like: one vector of the space, {name: [*shape]}.
        rank: pairs wanted; all there are if there are fewer parameters.
        accuracy: residual of every pair, relative to the largest eigenvalue, at which growing stops.
        largest_space: dimension at which it stops in any case; None: 10 times `rank` and 50 more.
        seed: of the first block.

    Returns:
        The pairs, the largest first, with their residuals; and the space they come from.

    Raises:
        ValueError: the rank is not positive.
        FloatingPointError: a product was not finite.
    """
    space = KrylovSpace(operator, like, block=max(1, min(rank, 16)), seed=seed)
    end = min(space.layout.size, largest_space or 10 * rank + 50)
    wanted = min(2 * rank, end)
    while True:
        space.grow(wanted)
        pairs = space.ritz().leading(rank)
        settled = float(pairs.residuals.max()) <= accuracy * float(pairs.values.abs().max())
        if settled or len(space) >= end:
            return pairs, space
        wanted = min(end, len(space) + max(space.block, len(space) // 4))


def eigen(
    operator: LinearOperator,
    right: Vectors,
    damping: float = 0.0,
    rank: int = 50,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Solution:
    """Solve (A + damping I) x = b with A cut to its `rank` leading eigenpairs.

    What lies outside their span is divided by the damping, as eigenvalues of 0 would have it; without damping it is
    dropped.

    Args:
        operator: A, symmetric.
        right: the b, {name: [K, *shape]}.
        damping: added to A in absolute units; not negative.
        rank: eigenpairs kept.
        tolerance: relative residual up to which a column counts as converged.
        seed: of the first block of directions.

    Raises:
        NotPositiveDefiniteError: a leading eigenvalue plus damping is negative.
        ValueError: the rank is not positive, or the damping is negative.
        FloatingPointError: a right-hand side or a product was not finite.
    """
    if damping < 0:
        raise ValueError(f"damping must not be negative, got {damping:g}")
    pairs, space = leading_eigenpairs(operator, {name: value[0] for name, value in right.items()}, rank, seed=seed)
    moved = pairs.values + damping
    rounding = torch.finfo(moved.dtype).eps * space.layout.size * float(pairs.values.abs().max())
    if float(moved.min()) < -rounding:
        raise NotPositiveDefiniteError(
            f"an eigenvalue of {float(pairs.values.min()):.3g} is not made positive by damping {damping:g}: "
            f"use damping above {-float(pairs.values.min()):.3g}"
        )
    approximation = pairs.as_operator(space.layout)
    if damping > rounding:
        vectors = approximation.power(right, -1.0, damping)
    else:
        zero = moved <= rounding
        vectors = approximation.apply(right, torch.where(zero, 0.0, 1.0 / torch.where(zero, 1.0, moved)))
    return certify(operator + damping, right, vectors, tolerance, space.products, len(space))
