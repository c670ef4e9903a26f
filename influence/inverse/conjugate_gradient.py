"""Preconditioned conjugate gradients for a block of right-hand sides, each with its own steps and its own stop."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import Certificate, Solution, multiply, normalised, residual, within
from influence.vectors import Vectors, add_scaled, all_finite, dot, norm, scaled, select, store, zeros_like

Preconditioner = Callable[[Vectors], Vectors]
OnStep = Callable[[int], object]

IDLE = 3  # steps in a row that change x by less than rounding, after which a column stops


def conjugate_gradient(
    operator: LinearOperator,
    right: Vectors,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    preconditioner: Preconditioner | None = None,
    on_step: OnStep = lambda active: None,
) -> Solution:
    """Solve A x = b for every b of the block.

    The K columns share each product with the operator, and leave the block as they converge. The residual that the
    recurrence believes in drifts from b - A x by rounding, so b - A x is computed anew when a round ends; columns that
    fall short go another round from there, until one does not halve it.

    Args:
        operator: A, symmetric positive definite.
        right: the b, {name: [K, *shape]}.
        tolerance: relative residual at which a column stops.
        max_iterations: steps after which every column stops, converged or not.
        preconditioner: multiplies a block by an approximation of A^-1, itself symmetric positive definite.
        on_step: called after every step with the number of columns that took it.

    Raises:
        FloatingPointError: a right-hand side, a product or the solution was not finite.
        ValueError: the preconditioner is not positive definite.
    """
    unit, scale = normalised(right)
    size = norm(unit)
    state = _Columns(
        solution=zeros_like(unit),
        residual={name: value.clone() for name, value in unit.items()},
        goal=tolerance * size,
        iterations=torch.zeros_like(size, dtype=torch.int64),
        negative=torch.zeros_like(size, dtype=torch.bool),
    )
    relative, stagnated = torch.ones_like(size), torch.zeros_like(state.negative)
    active, measured = (size > 0).nonzero().squeeze(1), torch.arange(len(size), device=size.device)
    products = 0
    while True:
        products += _descend(operator, state, active, max_iterations, preconditioner, on_step)
        # The first round measures every column, those with b = 0 too; later ones measure what they changed.
        left, found = residual(operator, select(unit, measured), select(state.solution, measured))
        products += len(measured)
        halved = found <= 0.5 * relative[measured]
        relative[measured] = found
        store(state.residual, measured, left)
        short = ~within(found, tolerance) & ~state.negative[measured] & (state.iterations[measured] < max_iterations)
        stagnated[measured] = short & ~halved
        active = measured = measured[short & halved]
        if not len(active):
            break
    certificate = Certificate(
        relative, state.iterations, within(relative, tolerance), state.negative, stagnated, products
    )
    solution = scaled(scale, state.solution)
    if not all_finite(solution):
        raise FloatingPointError("the solution overflows its precision: use float64")
    return Solution(solution, certificate)


@dataclass
class _Columns:
    """Where each of K columns stands."""

    solution: Vectors
    residual: Vectors
    goal: Tensor  # residual norm at which it stops, [K]
    iterations: Tensor
    negative: Tensor


def _descend(
    operator: LinearOperator,
    state: _Columns,
    active: Tensor,
    max_iterations: int,
    preconditioner: Preconditioner | None,
    on_step: OnStep,
) -> int:
    """Conjugate gradients from the current residuals until every active column stops; returns the products spent."""
    products = 0
    active = active[state.iterations[active] < max_iterations]
    part = select(state.residual, active)
    direction, descent = _precondition(part, preconditioner)
    energy, idle = torch.zeros_like(descent), torch.zeros_like(active)
    rounding = torch.finfo(descent.dtype).eps ** 2
    while len(active):
        image = multiply(operator, direction)
        products += len(active)
        curvature = dot(direction, image)
        sound, usable = descent > 0, (descent > 0) & (curvature > 0)
        state.negative[active[sound & ~usable]] = True
        step = torch.where(usable, descent / torch.where(usable, curvature, 1.0), 0.0)
        part = add_scaled(part, -step, image)
        store(state.solution, active, add_scaled(select(state.solution, active), step, direction))
        state.iterations[active] += 1
        on_step(len(active))
        # A step lowers the energy norm of the error by this; below rounding of the whole it no longer moves x.
        gain = step * descent
        energy = energy + gain
        idle = torch.where(gain <= rounding * energy, idle + 1, torch.zeros_like(idle))
        going = usable & (norm(part) > state.goal[active]) & (idle < IDLE) & (state.iterations[active] < max_iterations)
        keep = going.nonzero().squeeze(1)
        if not len(keep):
            break
        active, part, energy, idle = active[keep], select(part, keep), energy[keep], idle[keep]
        refreshed, renewed = _precondition(part, preconditioner)
        direction = add_scaled(refreshed, renewed / descent[keep], select(direction, keep))
        descent = renewed
    return products


def _precondition(vectors: Vectors, preconditioner: Preconditioner | None) -> tuple[Vectors, Tensor]:
    """z = M r, and r^T z."""
    if preconditioner is None:
        return vectors, dot(vectors, vectors)
    image = preconditioner(vectors)
    if not all_finite(image):
        raise FloatingPointError("the preconditioner returned NaN or infinity")
    descent = dot(vectors, image)
    # By rounding alone r^T z may be zero or just below; such columns stop where they are.
    if bool((descent < -1e3 * torch.finfo(descent.dtype).eps * norm(vectors) * norm(image)).any()):
        raise ValueError("the preconditioner is not positive definite: conjugate gradients need one that is")
    return image, descent
