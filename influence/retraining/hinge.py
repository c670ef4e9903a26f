"""Exact linear support vector machines, and what becomes of them without one of their examples.

The objective 1/n sum_i max(0, 1 - y_i theta x_i) + (weight_decay / 2) ||theta||^2 is not differentiable: at its minimum
some examples have the margin 1 exactly. The minimum is

    theta = 1 / (n weight_decay) sum_i alpha_i y_i x_i,      alpha_i in [0, 1]:

1 for margins below 1, 0 for margins above, and between them for the examples on the margin, which is the active set.
A primal-dual interior point comes near; an active-set method ends it, exactly. From there a model without one of its
examples is a few changes of the active set away.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from influence.retraining.exact import NotConvergedError

CENTRING = 0.1  # of the interior point: the share of the duality gap that a step aims to leave
CLOSE = 1e-6  # complementarity at which the interior point stops
STEPS = 100  # of the interior point
CHANGES = 10_000  # of the active set
ROUNDING = 1e-10  # by which a margin may miss 1, and an alpha its bounds
SINGULAR = 1e-11  # an eigenvalue of this share of the largest is zero: examples are combinations of others


@dataclass(frozen=True)
class HingeMinimum:
    """A linear support vector machine without bias at its minimum.

    Attributes:
        signed: y_i x_i of every example, [N, P].
        kept: which examples are in the training set, [N].
        weight_decay: factor of 1/2 ||theta||^2.
        alpha: [N]; 0 where an example is not kept.
        free: which examples are in the active set: kept, and of margin 1, [N].
        theta: [P].
    """

    signed: Tensor
    kept: Tensor
    weight_decay: float
    alpha: Tensor
    free: Tensor
    theta: Tensor

    @property
    def margins(self) -> Tensor:
        """y_i theta x_i, [N]."""
        return self.signed @ self.theta

    @property
    def violation(self) -> float:
        """How far the conditions of the minimum are from holding, in units of the margin; 0: exactly."""
        slack = 1 - self.margins
        wrong = torch.where(self.alpha >= 1, -slack, torch.where(self.alpha <= 0, slack, slack.abs()))
        return float(wrong[self.kept].max().clamp_min(0))

    def without(self, index: int) -> "HingeMinimum":
        """The minimum without one example, exactly, by following the active set."""
        return _follow(self._reduced(index))

    def step_without(self, index: int) -> Tensor:
        """theta without one example if the active set stayed as it is but for that example, [P]: one linear system."""
        reduced = self._reduced(index)
        return _parameters(reduced, _solved(reduced))

    def _reduced(self, index: int) -> "HingeMinimum":
        """The same active set on the training set without an example; not at its minimum."""
        kept, alpha, free = self.kept.clone(), self.alpha.clone(), self.free.clone()
        kept[index], alpha[index], free[index] = False, 0.0, False
        return replace(self, kept=kept, alpha=alpha, free=free)


def minimise_hinge(inputs: Tensor, targets: Tensor, weight_decay: float) -> HingeMinimum:
    """The exact minimum of a linear support vector machine without bias.

    Args:
        inputs: [N, P] in float64.
        targets: -1 or +1, [N].
        weight_decay: positive.

    Raises:
        ValueError: inputs, targets or weight decay are not as said.
        NotConvergedError: the active set did not come to rest.
    """
    if inputs.dtype != torch.float64 or inputs.dim() != 2:
        raise ValueError(f"an exact minimum needs inputs [N, P] in float64, not {list(inputs.shape)} in {inputs.dtype}")
    if len(targets) != len(inputs) or not bool((targets.abs() == 1).all()):
        raise ValueError(f"targets of the hinge are -1 or +1, one for each of {len(inputs)} examples")
    if not weight_decay > 0:
        raise ValueError(f"weight_decay must be positive, got {weight_decay}: without it there is no one minimum")
    signed = targets.to(inputs.dtype).unsqueeze(1) * inputs
    alpha, above, below = _interior_point(signed, weight_decay)
    free = (alpha > above) & (1 - alpha > below)
    alpha = torch.where(free, alpha, (alpha > 0.5).to(alpha.dtype))
    kept = torch.ones(len(signed), dtype=torch.bool)
    return _follow(HingeMinimum(signed, kept, weight_decay, alpha, free, signed.new_zeros(signed.shape[1])))


def _interior_point(signed: Tensor, weight_decay: float) -> tuple[Tensor, Tensor, Tensor]:
    """Close to the minimum: alpha, and by how much margins are above and below 1, [N] each, all positive."""
    count, width = signed.shape
    share, identity = 1.0 / count, torch.eye(width, dtype=signed.dtype)
    theta = signed.new_zeros(width)
    alpha, above, below = signed.new_full((count,), 0.5), signed.new_ones(count), signed.new_ones(count)
    for _ in range(STEPS):
        gap = float((alpha * above + (1 - alpha) * below).mean()) / 2
        slack = 1 - signed @ theta - below + above
        pull = share * (signed.T @ alpha) - weight_decay * theta
        if gap < CLOSE and float(slack.abs().max()) < CLOSE:
            break
        goal = CENTRING * gap
        stiffness = below / (1 - alpha) + above / alpha
        residual = slack - goal / (1 - alpha) + below + goal / alpha - above
        weights = share / stiffness
        system = (signed.T * weights) @ signed + weight_decay * identity
        step = torch.cholesky_solve(
            (signed.T @ (weights * residual) + pull).unsqueeze(1), torch.linalg.cholesky(system)
        )
        theta_step = step.squeeze(1)
        alpha_step = (residual - signed @ theta_step) / stiffness
        above_step = (goal - alpha * above - above * alpha_step) / alpha
        below_step = (goal - (1 - alpha) * below + below * alpha_step) / (1 - alpha)
        rate = min(
            _room(alpha, alpha_step), _room(1 - alpha, -alpha_step), _room(above, above_step), _room(below, below_step)
        )
        theta, alpha = theta + rate * theta_step, alpha + rate * alpha_step
        above, below = above + rate * above_step, below + rate * below_step
    return alpha, above, below


def _room(values: Tensor, step: Tensor) -> float:
    """The largest rate up to 1 at which positive values stay so."""
    falling = step < 0
    return min(1.0, 0.995 * float((-values[falling] / step[falling]).min())) if bool(falling.any()) else 1.0


def _follow(state: HingeMinimum) -> HingeMinimum:
    """The minimum, one change of the active set after the other; the dual objective does not fall with any."""
    alpha, free = state.alpha.clone(), state.free.clone()
    for _ in range(CHANGES):
        state = replace(state, alpha=alpha, free=free)
        step, endless = _step(state)
        over = torch.where(step > 0, (1 - alpha[free]) / step, torch.where(step < 0, -alpha[free] / step, torch.inf))
        blocked = float(over.min()) if len(over) else torch.inf
        if endless or blocked < 1 - ROUNDING:
            first = free.nonzero().squeeze(1)[int(over.argmin())]
            alpha[free] = (alpha[free] + max(blocked, 0.0) * step).clamp(0, 1)
            alpha[first], free[first] = float(step[int(over.argmin())] > 0), False
            continue
        alpha[free] = (alpha[free] + step).clamp(0, 1)
        theta = _parameters(state, alpha)
        slack = 1 - state.signed @ theta
        wrong = torch.where(alpha >= 1, -slack, slack)
        wrong[free | ~state.kept] = 0.0
        if float(wrong.max()) <= ROUNDING:
            return replace(state, alpha=alpha, theta=theta)
        free[int(wrong.argmax())] = True
    raise NotConvergedError(f"the active set of the support vector machine still changes after {CHANGES:,} changes")


def _step(state: HingeMinimum) -> tuple[Tensor, bool]:
    """What alpha of the active set moves by, and whether that is a direction without an end.

    To where all have the margin 1, the others' alpha staying as it is. Where examples are combinations of others that
    may not exist: alpha then moves so that theta stays and the dual objective rises, until one meets its bound.
    """
    rows = state.signed[state.free]
    if not len(rows):
        return rows.new_zeros(0), False
    missing = 1 - rows @ _parameters(state, state.alpha)
    gram = rows @ rows.T / (int(state.kept.sum()) * state.weight_decay)
    factor, failure = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal().square()
    if not int(failure) and float(pivots.min()) > SINGULAR * float(gram.diagonal().max()):
        return torch.cholesky_solve(missing.unsqueeze(1), factor).squeeze(1), False
    values, basis = torch.linalg.eigh(gram)
    flat, along = values <= SINGULAR * values[-1], basis.T @ missing
    if float(along[flat].norm()) > ROUNDING:
        return basis[:, flat] @ along[flat], True
    return basis[:, ~flat] @ (along[~flat] / values[~flat]), False


def _solved(state: HingeMinimum) -> Tensor:
    """alpha with which all examples of the active set have the margin 1, as far as that can be."""
    alpha = state.alpha.clone()
    step, endless = _step(state)
    alpha[state.free] += 0.0 if endless else step
    return alpha


def _parameters(state: HingeMinimum, alpha: Tensor) -> Tensor:
    """theta of these alpha."""
    return state.signed.T @ alpha / (int(state.kept.sum()) * state.weight_decay)
