"""What a solver says of its own answer, and how it is measured."""

from dataclasses import dataclass

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.vectors import Vectors, add_scaled, all_finite, count, norm, rows, scaled


class NotPositiveDefiniteError(ArithmeticError):
    """The operator has eigenvalues that are not positive, and the method cannot go on."""


@dataclass(frozen=True)
class Certificate:
    """How far each of K solutions can be trusted.

    Attributes:
        relative_residual: ||b - A x|| / ||b||, computed anew from the returned x, [K]; 0 where b is 0.
        iterations: steps taken by each column, [K].
        converged: residual within the tolerance, [K].
        negative_curvature: a direction p with p^T A p <= 0 was met and the column stopped there, [K].
        stagnated: the column stopped because it made no more progress (rounding or sampling noise), [K].
        operator_products: vectors multiplied by the operator in all.
    """

    relative_residual: Tensor
    iterations: Tensor
    converged: Tensor
    negative_curvature: Tensor
    stagnated: Tensor
    operator_products: int


@dataclass(frozen=True)
class Solution:
    """Answers x to A x = b for a block of b, with their certificate."""

    vectors: Vectors
    certificate: Certificate


def normalised(right: Vectors) -> tuple[Vectors, Tensor]:
    """b / scale and the scale, [K], the power of two next above its largest entry; 1 where b is 0.

    Dividing by a power of two is exact, and keeps the squares of very small and very large b from under- and
    overflowing.

    Raises:
        FloatingPointError: a right-hand side holds NaN or infinity.
    """
    if not all_finite(right):
        raise FloatingPointError("a right-hand side holds NaN or infinity: check the gradients it was made of")
    largest = torch.stack([rows(value).abs().amax(dim=1) for value in right.values()]).amax(dim=0)
    mantissa, _ = torch.frexp(largest)
    scale = torch.where(largest > 0, largest / torch.where(largest > 0, mantissa, 1.0), 1.0)
    return {name: value / scale.view(-1, *([1] * (value.dim() - 1))) for name, value in right.items()}, scale


def residual(operator: LinearOperator, right: Vectors, vectors: Vectors) -> tuple[Vectors, Tensor]:
    """b - A x, and ||b - A x|| / ||b||, [K], 0 where b and x are 0.

    Raises:
        FloatingPointError: x or A x is not finite.
    """
    if not all_finite(vectors):
        raise FloatingPointError("the solver met NaN or infinity: its precision is too low for this operator")
    left = add_scaled(right, -1.0, multiply(operator, vectors))
    size = norm(right)
    return left, norm(left) / torch.where(size > 0, size, torch.ones_like(size))


def multiply(operator: LinearOperator, vectors: Vectors) -> Vectors:
    """A x.

    Raises:
        FloatingPointError: it is not finite.
    """
    image = operator @ vectors
    if not all_finite(image):
        if not all_finite(vectors):
            raise FloatingPointError(
                "the solver met NaN or infinity: the operator is singular, or nearly so, along a right-hand side; add "
                "damping or weight decay"
            )
        raise FloatingPointError("the operator returned NaN or infinity: the model's outputs or the data overflow")
    return image


def within(relative: Tensor, tolerance: float) -> Tensor:
    """Whether residuals count as converged: rounding in computing them anew may cost a tenth of the tolerance."""
    return relative <= 1.1 * tolerance


def certify(
    operator: LinearOperator,
    right: Vectors,
    vectors: Vectors,
    tolerance: float,
    products: int,
    iterations: int | Tensor = 1,
    negative_curvature: bool | Tensor = False,
    stagnated: bool | Tensor = False,
) -> Solution:
    """The solution with its residual measured by the operator from the x that is returned.

    Args:
        products: vectors multiplied by the operator so far; those of the measurement are added.
        iterations, negative_curvature, stagnated: of every column [K], or the same for all.

    Raises:
        FloatingPointError: x or its residual is not finite.
    """
    unit, scale = normalised(right)
    relative = residual(operator, unit, scaled(1.0 / scale, vectors))[1]

    def column(value: float | Tensor, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(value, dtype=dtype, device=relative.device).expand(len(relative)).clone()

    certificate = Certificate(
        relative_residual=relative,
        iterations=column(iterations, torch.int64),
        converged=within(relative, tolerance),
        negative_curvature=column(negative_curvature, torch.bool),
        stagnated=column(stagnated, torch.bool) & ~within(relative, tolerance),
        operator_products=products + count(right),
    )
    return Solution(vectors, certificate)
