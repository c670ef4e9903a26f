"""LiSSA: the inverse as a Neumann series (Agarwal et al. 2017; Koh & Liang 2017), x <- x + (b - A x) / scale.

The series converges for 0 < mu / scale < 2 at every eigenvalue mu of every operator used, and the literature leaves
scale and depth to the user. Here the scale comes from the largest eigenvalue, and the depth from measured residuals.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import Solution, certify, multiply, normalised, residual, within
from influence.inverse.krylov import extreme_eigenvalues
from influence.vectors import Vectors, add_scaled, all_finite, count, dot, norm, scaled, select, store, zeros_like

Sample = Callable[[int], LinearOperator]

LANCZOS_STEPS = 12
PROBES = 4  # sampled operators whose largest eigenvalue is looked at
PATIENCE = 100  # steps without a smaller residual after which a column is taken to stand still
FIRST_CHECK = 8  # sampled steps before the first measurement
DIVERGED = 2.0  # relative residual above which the sampled series is taken to diverge; x = 0 has 1
DOUBLINGS = 20  # of the scale, before sampled operators are given up on


def lissa(
    operator: LinearOperator,
    right: Vectors,
    tolerance: float = 1e-2,
    max_iterations: int = 10_000,
    sample: Sample | None = None,
) -> Solution:
    """Solve A x = b by the Neumann series, with a scale and a depth of its own choice.

    Without `sample` every step multiplies by A itself and its residual is known at no cost. With it, step t multiplies
    by `sample(t)`, an unbiased draw of A such as the curvature of one batch of examples; x is then the mean over the
    second half of the steps, and the residual on A is measured whenever their number has doubled.

    Args:
        operator: A, symmetric positive definite.
        right: the b, {name: [K, *shape]}.
        tolerance: relative residual at which a column stops.
        max_iterations: the greatest depth.
        sample: step -> operator; regularisation and damping belong to it as they belong to A.

    Returns:
        The solution. `negative_curvature`: the series diverged along a direction p with p^T A p <= 0, or A was seen
        to have one; the column stopped there. `stagnated`: the residual fell no more.

    Raises:
        FloatingPointError: a right-hand side or a product was not finite.
    """
    unit, scale = normalised(right)
    ends = extreme_eigenvalues(operator, {name: value[0] for name, value in unit.items()}, LANCZOS_STEPS)
    rounding = 1e3 * torch.finfo(scale.dtype).eps * max(abs(ends.smallest), abs(ends.largest))
    largest = ends.largest + ends.largest_error
    if ends.largest <= rounding:  # nothing to scale by: the operator is zero or negative
        return certify(operator, right, zeros_like(right), tolerance, ends.products, 0, negative_curvature=True)
    if sample is None:
        outcome = _exact(operator, unit, tolerance, max_iterations, largest)
    else:
        outcome = _sampled(operator, sample, unit, tolerance, max_iterations, largest)
    return certify(
        operator,
        right,
        scaled(scale, outcome.solution),
        tolerance,
        ends.products + outcome.products,
        outcome.iterations,
        outcome.negative | (ends.smallest < -rounding),
        outcome.stagnated,
    )


@dataclass
class _Outcome:
    """Where K columns stand; written as they move."""

    solution: Vectors
    iterations: Tensor
    negative: Tensor
    stagnated: Tensor
    products: int = 0

    @classmethod
    def start(cls, right: Vectors) -> "_Outcome":
        device = next(iter(right.values())).device
        no = torch.zeros(count(right), dtype=torch.bool, device=device)
        return cls(zeros_like(right), no.long(), no, no.clone())


def _exact(operator: LinearOperator, right: Vectors, tolerance: float, depth: int, largest: float) -> _Outcome:
    """Every step with A itself, each column until it converges, diverges or stands still."""
    outcome, size = _Outcome.start(right), norm(right)
    active = (size > 0).nonzero().squeeze(1)
    part, smallest, since = select(right, active), size[active], torch.zeros_like(active)
    # Just above half the largest eigenvalue: the small eigenvalues, which take longest, converge almost twice as fast.
    pace = torch.full_like(smallest, 1.0 / (0.55 * largest))
    for _ in range(depth):
        if not len(active):
            break
        moved = add_scaled(select(outcome.solution, active), pace, part)
        store(outcome.solution, active, moved)
        left = add_scaled(select(right, active), -1.0, multiply(operator, moved))
        outcome.products += len(active)
        outcome.iterations[active] += 1
        found = norm(left)
        since = torch.where(found < smallest, 0, since + 1)
        smallest = torch.minimum(smallest, found)
        grown, still = found > 2 * smallest, since >= PATIENCE
        # r^T A r of the last residual, up to a positive factor, from what is known of it already.
        curved = dot(part, add_scaled(part, -1.0, left)) > 0
        negative = (grown | still) & ~curved
        outcome.negative[active[negative]] = True
        outcome.stagnated[active[still]] = True
        hasty = grown & curved  # the largest eigenvalue was not the largest after all
        pace, smallest = torch.where(hasty, pace / 2, pace), torch.where(hasty, found, smallest)
        keep = (~negative & ~still & ~within(found / size[active], tolerance)).nonzero().squeeze(1)
        active, part, smallest = active[keep], select(left, keep), smallest[keep]
        since, pace = since[keep], pace[keep]
    return outcome


def _sampled(
    operator: LinearOperator, sample: Sample, right: Vectors, tolerance: float, depth: int, largest: float
) -> _Outcome:
    """Every step with a sampled operator, all columns together; averaged, and measured whenever the depth doubles."""
    outcome, size = _Outcome.start(right), norm(right)
    like = {name: value[0] for name, value in right.items()}
    tops = [extreme_eigenvalues(sample(probe), like, LANCZOS_STEPS) for probe in range(PROBES)]
    pace = 1.0 / max(largest, *(top.largest + top.largest_error for top in tops))
    best, idle = (size > 0).to(size.dtype), torch.zeros_like(outcome.iterations)
    position, mean, taken, begun, doublings = zeros_like(right), zeros_like(right), 0, 0, 0
    for step in range(1, depth + 1):
        gradient = add_scaled(right, -1.0, sample(step) @ position)
        position = add_scaled(position, pace, gradient)
        taken += 1
        mean = add_scaled(mean, 1.0 / taken, add_scaled(position, -1.0, mean))
        length = step - begun
        if step < depth and (length < FIRST_CHECK or length & (length - 1)):
            continue
        relative = residual(operator, right, mean)[1] if all_finite(mean) else torch.full_like(size, torch.inf)
        outcome.products += count(right)
        if bool((relative > DIVERGED).any()) and doublings < DOUBLINGS:
            # A sampled operator was larger than those looked at: start again, more slowly.
            pace, begun, doublings = pace / 2, step, doublings + 1
            position, mean, taken = zeros_like(right), zeros_like(right), 0
            continue
        better = (relative < best).nonzero().squeeze(1)
        idle = torch.where(relative < 0.95 * best, 0, idle + 1)
        store(outcome.solution, better, select(mean, better))
        outcome.iterations[better] = step
        best = torch.minimum(best, relative)
        mean, taken = zeros_like(right), 0
        if bool((within(best, tolerance) | (idle >= 2)).all()):
            break
    outcome.stagnated = idle >= 2
    return outcome
