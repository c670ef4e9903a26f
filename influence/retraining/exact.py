"""Exact retraining of convex models without sets of their examples, many sets at once.

Newton's method with a frozen Hessian (the chord method): the Hessian of the full objective at the trained parameters
serves every set and every step, so that a step costs one gradient pass for all sets together. Each step multiplies the
error of the step before by about the leverage of what is left out, so 4 to 6 of them are enough for a single example.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

from influence.memory import activations_per_example
from influence.problem import Data, Problem
from influence.subset import membership
from influence.vectors import Vectors, add_scaled, dot, norm, select, store, zeros_like

Solve = Callable[[Vectors], Vectors]

COPIES = 6  # of a batch's activations at once, per set
EXAMPLES, SETS = 2048, 64  # more examples or sets at once gain no speed
SMALLEST_RATE = 2.0**-10  # halvings of a step after which the gradient is taken not to fall any more


class NotConvergedError(ArithmeticError):
    """Retraining did not reach the minimum."""


@dataclass(frozen=True)
class Retrained:
    """The minima of the objectives without each of K sets.

    Attributes:
        parameters: {name: [K, *shape]}.
        gradient_norm: of each objective at its minimum, [K].
        passes: gradient passes over the training set, each for all sets still on their way.
    """

    parameters: Vectors
    gradient_norm: Tensor
    passes: int


def retrain_without(
    problem: Problem,
    data: Data,
    sets: Sequence[Tensor | Sequence[int]],
    solve: Solve,
    tolerance: float = 1e-10,
    max_passes: int = 100,
    memory_limit: int = 2**30,
) -> Retrained:
    """Minimise 1/(n - s) sum_{j not in S} loss_j + regularisation from the trained parameters, for every set S.

    A step that does not lower the energy g^T (H + damping I)^-1 g of the gradient g is taken back and halved, so that
    large sets converge too, with more steps.

    Args:
        problem: the trained model in float64, its objective convex and differentiable.
        data: the n training examples.
        sets: positions of the examples to leave out, one or more a set.
        solve: (H + damping I)^-1 of a block of vectors, H the Hessian of the full objective; any positive definite
            approximation gives the same minima with more steps.
        tolerance: norm of the gradient at which a set is done.
        max_passes: over the data.
        memory_limit: bytes for the intermediate results of one batch.

    Raises:
        ValueError: the model is not in float64; a set is empty, is everything, or names no such example or one twice.
        NotConvergedError: a gradient is still above the tolerance.
    """
    if problem.dtype != torch.float64:
        raise ValueError(f"exact retraining needs a model in float64, not {problem.dtype}: call model.double() first")
    kept = ~membership(sets, len(data)).to(problem.device)
    gradient = _Gradients(problem, data, kept, memory_limit)
    theta = {name: value.expand(len(kept), *value.shape).clone() for name, value in problem.parameters.items()}
    active, passes = torch.arange(len(kept), device=problem.device), 1
    slope = gradient(theta, active)
    step = solve(slope)
    size, energy, rate = norm(slope), dot(slope, step), torch.ones_like(norm(slope))
    while len(active := (size > tolerance).nonzero().squeeze(1)):
        if passes >= max_passes or not bool(((energy > 0) & (rate >= SMALLEST_RATE))[active].all()):
            raise NotConvergedError(
                f"{len(active):,} of {len(kept):,} sets are not retrained after {passes} passes: the largest gradient "
                f"is {float(size.max()):.3g}, not {tolerance:g}; leave out fewer examples at once, use a direct solver "
                "without damping, or check that the objective is convex"
            )
        trial = add_scaled(select(theta, active), -rate[active], select(step, active))
        slope, passes = gradient(trial, active), passes + 1
        direction = solve(slope)
        found = dot(slope, direction)
        falls = found < energy[active]
        better, moved = falls.nonzero().squeeze(1), active[falls]
        rate[active[~falls]] /= 2
        store(theta, moved, select(trial, better))
        store(step, moved, select(direction, better))
        energy[moved], size[moved] = found[better], norm(select(slope, better))
    return Retrained(theta, size, passes)


class _Gradients:
    """Gradients of the objectives without their sets, each at parameters of its own, in one pass over the data."""

    def __init__(self, problem: Problem, data: Data, kept: Tensor, memory_limit: int) -> None:
        self.problem, self.data, self.kept = problem, data, kept
        probe = next(iter(data.batches(1, problem.device)))[0]
        width = COPIES * activations_per_example(problem, probe) * torch.finfo(problem.dtype).bits // 8
        self._sets = max(1, min(SETS, len(kept), memory_limit // width))
        self._examples = max(1, min(EXAMPLES, memory_limit // (width * self._sets)))

    def __call__(self, theta: Vectors, which: Tensor) -> Vectors:
        """{name: [K, *shape]}: the gradient of objective `which[k]` at theta[k]."""
        problem, total, start = self.problem, zeros_like(theta), 0
        for inputs, targets in self.data.batches(self._examples, problem.device):
            weights = self.kept[which, start : start + len(inputs)].to(problem.dtype)
            for name, value in self._batch(theta, inputs, targets, weights).items():
                total[name] += value
            start += len(inputs)
        share = 1.0 / self.kept[which].sum(dim=1, dtype=problem.dtype)  # whole numbers divide in float32
        regularisation = problem.objective.regularisation_gradient(theta)
        return add_scaled(regularisation, share, total)

    def _batch(self, theta: Vectors, inputs: Tensor, targets: Tensor, weights: Tensor) -> Vectors:
        def loss(parameters: Vectors, weight: Tensor) -> Tensor:
            return (weight * self.problem.loss(parameters, inputs, targets)).sum()

        found: Vectors = vmap(grad(loss), chunk_size=self._sets)(theta, weights)
        return found
