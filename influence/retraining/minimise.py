"""The minimum of a convex objective, to the last digits.

L-BFGS comes near, for the price of gradients; from there Newton's method with a Hessian that is kept as long as its
steps still shrink the gradient (the chord method), so that large problems factor it once or twice.
"""

import torch
from torch import Tensor, nn
from torch.func import grad

from influence.curvature import Regularisation, choose_gauss_newton
from influence.inverse import Direct
from influence.layers import PerExampleGradients
from influence.objective import Objective
from influence.problem import Data, Problem
from influence.retraining.exact import NotConvergedError
from influence.vectors import Vectors, block, dot, norm

BATCH = 8192  # examples whose gradient is taken at once
HISTORY = 20  # of L-BFGS
SLOW = 0.1  # a step that leaves more than this of the gradient's energy asks for a new Hessian
SMALLEST_RATE = 2.0**-10  # halvings of a step after which the gradient is taken not to fall any more


def minimise(
    model: nn.Module,
    objective: Objective,
    data: Data,
    tolerance: float = 1e-10,
    near_steps: int = 100,
    max_factors: int = 20,
    damping: float = 0.0,
) -> Problem:
    """Train a model to the minimum of its objective, from the parameters that it has, in place.

    Args:
        model: in float64; its outputs are linear in the parameters (a generalised linear model).
        objective: convex and twice differentiable.
        data: what it is trained on.
        tolerance: norm of the objective's gradient at which it is done.
        near_steps: of L-BFGS.
        max_factors: Hessians that may be factored.
        damping: added to them, in absolute units: where a direction leaves the objective as it is, such as one bias for
            all classes, the Hessian is singular, and a little damping stays away from that direction.

    Returns:
        The model at its minimum.

    Raises:
        ValueError: the model is not in float64.
        NotPositiveDefiniteError: the Hessian is singular, so that there is no one minimum: add weight decay.
        NotConvergedError: the gradient is still above the tolerance.
    """
    problem = Problem(model, objective)
    if problem.dtype != torch.float64:
        raise ValueError(f"an exact minimum needs a model in float64, not {problem.dtype}: call model.double() first")
    _approach(problem, data, near_steps)
    gradients = PerExampleGradients(problem, next(iter(data.batches(2, problem.device)))[0])
    slope = full_gradient(problem, data)
    for _ in range(max_factors):
        if float(norm(slope)) <= tolerance:
            return problem
        curvature = choose_gauss_newton(gradients, data) + Regularisation(problem)
        slope = _descend(problem, data, Direct(curvature, problem.parameters, damping), slope, tolerance)
    raise NotConvergedError(
        f"training stopped at a gradient of norm {float(norm(slope)):.3g}, not {tolerance:g}, after {max_factors} "
        "Newton steps: check that the objective is convex, or ask for less"
    )


def full_gradient(problem: Problem, data: Data) -> Vectors:
    """Gradient of the full objective at the problem's parameters, {name: [1, *shape]}."""
    total = problem.regularisation_gradient()
    for inputs, targets in data.batches(BATCH, problem.device):
        part = grad(lambda theta, batch: problem.loss(theta, *batch).sum())(problem.parameters, (inputs, targets))
        for name, value in part.items():
            total[name] = total[name] + value / len(data)
    return block(total)


def full_objective(problem: Problem, data: Data) -> Tensor:
    """Mean loss plus regularisation at the problem's parameters, a scalar."""
    losses = [problem.loss(problem.parameters, *batch).sum() for batch in data.batches(BATCH, problem.device)]
    return torch.stack(losses).sum() / len(data) + problem.objective.regularisation(problem.parameters)


def _approach(problem: Problem, data: Data, steps: int) -> None:
    """L-BFGS."""
    leaves = [value.requires_grad_(True) for value in problem.parameters.values()]
    search = torch.optim.LBFGS(
        leaves, max_iter=steps, history_size=HISTORY, line_search_fn="strong_wolfe", tolerance_change=0.0
    )

    def closure() -> float:
        with torch.no_grad():
            for leaf, slope in zip(leaves, full_gradient(problem, data).values(), strict=True):
                leaf.grad = slope[0]
            return float(full_objective(problem, data))

    search.step(closure)
    for leaf in leaves:
        leaf.requires_grad_(False).grad = None


def _descend(problem: Problem, data: Data, solve: Direct, slope: Vectors, tolerance: float) -> Vectors:
    """Chord steps with one Hessian while they pay; returns the gradient where they end."""
    step = solve(slope)
    energy, rate = float(dot(slope, step)), 1.0
    while rate >= SMALLEST_RATE and float(norm(slope)) > tolerance:
        _move(problem, -rate, step)
        found = full_gradient(problem, data)
        direction = solve(found)
        left = float(dot(found, direction))
        if not left < energy:
            _move(problem, rate, step)
            rate /= 2
            continue
        slow = left > SLOW * energy
        slope, step, energy = found, direction, left
        if slow:
            break
    return slope


def _move(problem: Problem, rate: float, step: Vectors) -> None:
    for name, value in problem.parameters.items():
        value.add_(step[name][0], alpha=rate)
