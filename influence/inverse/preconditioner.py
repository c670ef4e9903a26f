"""Preconditioners for conjugate gradients, by name: approximations of (A + damping I)^-1 that cost little to apply."""

from typing import Literal, get_args

import torch

from influence.curvature.kronecker_fit import fit_diagonal, fit_ekfac
from influence.curvature.operator import LinearOperator
from influence.curvature.sampled import sample_gauss_newton
from influence.inverse.conjugate_gradient import Preconditioner
from influence.inverse.nystrom import nystrom_approximation, nystrom_preconditioner
from influence.layers import GradientBlock, PerExampleGradients
from influence.memory import gradient_batch
from influence.problem import Data

PreconditionerName = Literal["auto", "none", "subsample", "ekfac", "diagonal", "nystrom"]

COLUMNS = 2000  # of the subsample at most; their Gram matrix takes 32 MB and its decomposition well under a second
FEW_COLUMNS = 256  # where memory holds no more than these, EK-FAC is the better choice
MATRICES = 3  # as large as their Gram matrix that live at once
RANK = 50  # of Nyström's approximation


def make_preconditioner(
    name: PreconditionerName,
    operator: LinearOperator,
    gradients: PerExampleGradients,
    data: Data,
    damping: float = 0.0,
    memory_limit: int = 2**30,
    seed: int = 0,
) -> Preconditioner | None:
    """What multiplies a block by an approximation of (A + damping I)^-1, or None for no preconditioner.

    - `subsample`: the Gauss-Newton matrix of up to 2,000 columns drawn by importance, one pass without derivatives.
    - `ekfac`, `diagonal`: these approximations, fitted in two passes and in one, each with derivatives of every output.
    - `nystrom`: a randomised Nyström approximation of A itself, as many products as its rank of 50.
    - `auto`: see `choose_preconditioner`.

    All but `nystrom` take weight decay as that of every parameter.

    Args:
        name: which.
        operator: A, with the regularisation's share and without damping; only `nystrom` multiplies by it.
        gradients: reads the per-example gradients of the problem.
        data: the training examples.
        damping: absolute.
        memory_limit: bytes for what the preconditioner keeps, and again for intermediate results.
        seed: of what is drawn.

    Raises:
        ValueError: the name is unknown.
        ZeroDivisionError: neither damping nor weight decay makes the approximation invertible.
        NotPositiveDefiniteError: `nystrom` met negative curvature.
    """
    shift = damping + gradients.problem.objective.weight_decay
    if name == "auto":
        name = choose_preconditioner(gradients, data, damping, memory_limit)
    if name in ("subsample", "ekfac", "diagonal"):
        _check_positive(shift)  # before the work of fitting
    match name:
        case "none":
            return None
        case "subsample":
            fitting = max(1, columns_within(gradients, data, memory_limit))
            # With as many columns as examples an application costs no more than a product with A.
            columns = min(COLUMNS, fitting, max(FEW_COLUMNS, len(data)))
            return inverse_of(sample_gauss_newton(gradients, data, columns, memory_limit, seed), shift)
        case "ekfac":
            return inverse_of(fit_ekfac(gradients, data, _fit_batch(gradients, data, memory_limit)), shift)
        case "diagonal":
            return inverse_of(fit_diagonal(gradients, data, _fit_batch(gradients, data, memory_limit)), shift)
        case "nystrom":
            approximation = nystrom_approximation(operator, gradients.problem.parameters, RANK, seed)
            return nystrom_preconditioner(approximation, damping)
    raise ValueError(f"preconditioner is one of {', '.join(get_args(PreconditionerName))}, not {name!r}")


def choose_preconditioner(
    gradients: PerExampleGradients, data: Data, damping: float = 0.0, memory_limit: int = 2**30
) -> PreconditionerName:
    """Which preconditioner a problem is best served by.

    `none` where there is neither damping nor weight decay, since nothing then bounds the inverse of an approximation;
    else `subsample`, or `ekfac` where the gradients of a few hundred columns do not fit the memory limit.
    """
    if damping + gradients.problem.objective.weight_decay <= 0:
        return "none"
    return "subsample" if columns_within(gradients, data, memory_limit) >= FEW_COLUMNS else "ekfac"


def inverse_of(approximation: LinearOperator, shift: float) -> Preconditioner:
    """(approximation + shift I)^-1 of an approximation that is inverted in closed form.

    Args:
        approximation: positive semi-definite, such as EK-FAC.
        shift: damping and weight decay.

    Raises:
        ZeroDivisionError: the shift is not positive.
    """
    _check_positive(shift)
    return lambda vectors: approximation.power(vectors, -1.0, shift)


def columns_within(gradients: PerExampleGradients, data: Data, memory_limit: int) -> int:
    """How many columns fit into so many bytes: their gradients, measured on one, and the matrices of their products."""
    inputs, _ = next(iter(data.batches(1, gradients.problem.device)))
    outputs = gradients.problem.outputs(gradients.problem.parameters, inputs)
    own = GradientBlock(gradients, gradients.read(inputs, torch.ones_like(outputs)[None])).nbytes
    square = 8 * MATRICES  # bytes an entry
    return int(((own**2 + 4 * square * memory_limit) ** 0.5 - own) / (2 * square))


def _check_positive(shift: float) -> None:
    if shift <= 0:
        raise ZeroDivisionError(
            "a preconditioner by an approximate curvature needs damping or weight decay: give one, or preconditioner "
            "'none'"
        )


def _fit_batch(gradients: PerExampleGradients, data: Data, memory_limit: int) -> int:
    """Examples at once whose gradients along every output fit the limit."""
    inputs, _ = next(iter(data.batches(1, gradients.problem.device)))
    outputs = gradients.problem.outputs(gradients.problem.parameters, inputs).shape[-1]
    return max(1, gradient_batch(gradients.problem, inputs, memory_limit) // outputs)
