"""LiSSA with a scale and a depth of the caller's choice, as Koh & Liang 2017 (section 3) ran it.

    h <- b + h - A_t h / scale,      x = mean over repeats of h / scale

with A_t an unbiased draw of A, such as the curvature of one example. It converges for 0 < mu / scale < 2 at every
eigenvalue mu of every draw; stopping after T steps acts like damping of about scale / T. Kept to compare with: `lissa`
chooses scale and depth itself.
"""

from collections.abc import Callable

from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import Solution, certify
from influence.vectors import Vectors, add_scaled, zeros_like


def published_lissa(
    operator: LinearOperator,
    right: Vectors,
    sample: Callable[[int], LinearOperator],
    scale: float,
    depth: int,
    repeats: int = 1,
    tolerance: float = 1e-2,
) -> Solution:
    """Solve A x = b by sampled Neumann series of a fixed depth, averaged.

    Args:
        operator: A, symmetric positive definite; only the residual is measured with it.
        right: the b, {name: [K, *shape]}.
        sample: step -> operator, for steps from 0 to repeats * depth - 1; regularisation and damping belong to it.
        scale: what the draws are divided by.
        depth: steps of each series.
        repeats: series that are averaged.
        tolerance: relative residual up to which a column counts as converged.

    Raises:
        FloatingPointError: the series diverged, or a right-hand side was not finite.
    """
    total = zeros_like(right)
    for repeat in range(repeats):
        position = right
        for step in range(depth):
            image = sample(repeat * depth + step) @ position
            position = add_scaled(add_scaled(position, -1.0 / scale, image), 1.0, right)
        total = add_scaled(total, 1.0 / (scale * repeats), position)
    return certify(operator, right, total, tolerance, products=0, iterations=depth)
