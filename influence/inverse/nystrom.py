"""Randomised Nyström approximation: a solver by Woodbury's formula, and a preconditioner for conjugate gradients.

Frangella, Tropp & Udell 2023, "Randomized Nyström preconditioning". From one block of products Y = A Omega with
orthonormal random Omega, A ~ Y (Omega^T Y)^-1 Y^T = U diag(values) U^T.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from influence.curvature.low_rank import LowRank
from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import NotPositiveDefiniteError, Solution, certify, multiply
from influence.inverse.conjugate_gradient import Preconditioner
from influence.layout import Layout
from influence.vectors import Vectors


def nystrom_approximation(operator: LinearOperator, like: Mapping[str, Tensor], rank: int, seed: int = 0) -> LowRank:
    """The Nyström approximation of A from `rank` products.

    Args:
        operator: A, symmetric positive semi-definite.
        like: one vector of the space, {name: [*shape]}; gives dtype and device.
        rank: products, and eigenpairs kept, the largest first; at most P.
        seed: of the random directions.

    Raises:
        ValueError: the rank is not positive.
        NotPositiveDefiniteError: A has negative eigenvalues, seen on the random directions.
        FloatingPointError: a product was not finite.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    layout, sample = Layout.of(like), next(iter(like.values()))
    rank = min(rank, layout.size)
    drawn = torch.randn(layout.size, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    directions = torch.linalg.qr(drawn)[0].to(sample).T  # rows
    images = layout.flatten(multiply(operator, layout.unflatten(directions.contiguous())))
    directions, images = directions.double(), images.double()
    core = directions @ images.T
    core = (core + core.T) / 2
    # A shift of rounding size keeps the core positive definite where A is singular; it is taken off again below.
    shift = torch.finfo(sample.dtype).eps * layout.size**0.5 * float(images.norm())
    smallest = float(torch.linalg.eigvalsh(core)[0])
    if smallest < -100 * shift:
        raise NotPositiveDefiniteError(
            f"the operator is not positive semi-definite: it has an eigenvalue of {smallest:.3g} or below; "
            "use the Gauss-Newton matrix, or give it with its damping added"
        )
    shift = max(shift, -2 * smallest)
    images = images + shift * directions
    factor = torch.linalg.cholesky(core + shift * (directions @ directions.T))
    half = torch.linalg.solve_triangular(factor, images, upper=False)  # half^T half = Y core^-1 Y^T
    _, strengths, basis = torch.linalg.svd(half, full_matrices=False)
    values = (strengths.square() - shift).clamp_min(0)
    return LowRank(basis.to(sample), values.to(sample), layout)


def nystrom_preconditioner(approximation: LowRank, damping: float) -> Preconditioner:
    """An approximation of (A + damping I)^-1 that conjugate gradients can use.

    The directions outside the span count as the smallest eigenvalue kept, plus damping.

    Raises:
        ZeroDivisionError: damping and the smallest eigenvalue kept are both zero.
    """
    rest = float(approximation.values.min()) + damping
    if rest <= 0:
        raise ZeroDivisionError("a Nyström preconditioner without damping needs a rank below that of the operator")
    inside = 1.0 / (approximation.values + damping)
    return lambda vectors: approximation.apply(vectors, inside, 1.0 / rest)


def nystrom(
    operator: LinearOperator,
    right: Vectors,
    damping: float,
    rank: int = 100,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Solution:
    """Solve (A + damping I) x = b with A replaced by its Nyström approximation.

    Args:
        operator: A, symmetric positive semi-definite.
        right: the b, {name: [K, *shape]}.
        damping: added to A in absolute units; positive.
        rank: products spent on the approximation.
        tolerance: relative residual up to which a column counts as converged.
        seed: of the random directions.

    Raises:
        ZeroDivisionError: there is no damping.
        NotPositiveDefiniteError: A has negative eigenvalues, seen on the random directions.
        FloatingPointError: a right-hand side or a product was not finite.
    """
    if damping <= 0:
        raise ZeroDivisionError("the Nyström approximation is singular: use a positive damping")
    like = {name: value[0] for name, value in right.items()}
    approximation = nystrom_approximation(operator, like, rank, seed)
    vectors = approximation.power(right, -1.0, damping)
    return certify(operator + damping, right, vectors, tolerance, len(approximation.values), 1)
