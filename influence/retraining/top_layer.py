"""A linear layer on frozen features, trained to its minimum, and trained again when some of its examples change.

Retraining is exact: the chord method with the Hessian at the minimum of the unchanged examples (see
`retraining.exact`), for many sets of changes at once. A step costs one pass over the features for all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from influence.curvature import FactoredGaussNewton
from influence.inverse.leverage import choose_direct
from influence.layers import PerExampleGradients
from influence.objective import Objective
from influence.problem import TensorData
from influence.retraining.exact import SMALLEST_RATE, NotConvergedError
from influence.retraining.minimise import minimise
from influence.retraining.secants import Secants, Seen
from influence.vectors import Vectors, add_scaled, count, dot, norm, scaled, select, store, zeros_like

VALUES = 2**24  # numbers of one intermediate result at once


@dataclass(frozen=True)
class Replacement:
    """T sets of K training examples each, and what stands in their place.

    Attributes:
        positions: of the examples, [T, K]; no position twice in a row.
        features: of what replaces them, [T, K, D].
        targets: of what replaces them, [T, K].
    """

    positions: Tensor
    features: Tensor
    targets: Tensor

    def select(self, rows: Tensor) -> "Replacement":
        return Replacement(self.positions[rows], self.features[rows], self.targets[rows])


class TopLayer:
    """The minimum of a convex objective of a linear layer, outputs = W f + b, on features f.

    Args:
        objective: convex in the outputs, with weight decay.
        features: of the N training examples, [N, D].
        targets: [N].
        outputs: C.
        bias: whether there is a b. With softmax it must be decayed too, or the minimum is not one point.
        tolerance: norm of the gradient at which a minimum is reached, here and in `retrain`.

    Raises:
        ValueError: the features are not one vector an example.
        NotPositiveDefiniteError: the Hessian is singular: there is no weight decay where it is needed.
        NotConvergedError: training does not reach the minimum.
    """

    def __init__(
        self,
        objective: Objective,
        features: Tensor,
        targets: Tensor,
        outputs: int,
        bias: bool = True,
        tolerance: float = 1e-9,
    ) -> None:
        if features.dim() != 2 or len(features) != len(targets):
            raise ValueError(
                f"features of {len(targets)} targets are [{len(targets)}, D], not {list(features.shape)}: flatten them"
            )
        self.data, self.objective, self.tolerance = TensorData(features.double(), targets), objective, tolerance
        layer = nn.Linear(features.shape[1], outputs, bias).double().to(features.device)
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        self.problem = minimise(layer, objective, self.data, tolerance)
        curvature = FactoredGaussNewton(PerExampleGradients(self.problem, self.data.inputs[:2]), self.data)
        self.solve = choose_direct(curvature, self.problem)  # H^-1 of a block of vectors

    def parameters(self, copies: int) -> Vectors:
        """The trained parameters, {name: [copies, *shape]}."""
        return {name: value.expand(copies, *value.shape).clone() for name, value in self.problem.parameters.items()}

    def gradient(self, theta: Vectors, features: Tensor, targets: Tensor) -> Vectors:
        """Gradient of the summed loss of the examples [T, M] at theta[t], {name: [T, *shape]}."""
        return _pulled_back(self.residuals(outputs(theta, features), targets), features, theta)

    def residuals(self, at: Tensor, targets: Tensor) -> Tensor:
        """Gradient of each loss in its outputs, [T, M, C], differentiable itself where the outputs are."""
        with torch.enable_grad():
            leaf = at if at.requires_grad else at.detach().requires_grad_(True)
            total = self.objective.loss(leaf.flatten(0, 1), targets.flatten()).sum()
            (found,) = torch.autograd.grad(total, leaf, create_graph=at.requires_grad)
        return found

    def retrain(self, replacement: Replacement, start: Vectors | None = None) -> Vectors:
        """The minimum for each set of changes, {name: [T, *shape]}.

        Args:
            replacement: what changes.
            start: parameters to begin with, such as those before a small further change; None: the trained ones.

        Raises:
            NotConvergedError: a gradient is still above the tolerance.
        """
        theta = start if start is not None else self.parameters(len(replacement.positions))
        theta = {name: value.clone() for name, value in theta.items()}
        rows = torch.arange(count(theta), device=replacement.positions.device)  # that are not at their minimum yet
        now, secants = select(theta, rows), Secants()
        slope = self._slope(now, replacement)
        step = self.solve(slope)
        energy, rate = dot(slope, step), slope["weight"].new_ones(len(rows))
        while True:
            size = norm(slope)
            left = (size > self.tolerance).nonzero().squeeze(1)
            store(theta, rows, now)
            if not len(left):
                return theta
            rows, replacement, energy, rate = rows[left], replacement.select(left), energy[left], rate[left]
            now, slope, step = (select(part, left) for part in (now, slope, step))
            secants.select(left)
            if not bool(((energy > 0) & (rate >= SMALLEST_RATE)).all()):
                raise NotConvergedError(
                    f"{len(rows):,} of {count(theta):,} sets of changes are not retrained: the largest gradient is "
                    f"{float(size.max()):.3g}, not {self.tolerance:g}; change fewer examples, or ask for less"
                )
            # A step that did not lower the energy is taken again, shorter and without what was learnt on the way.
            plain = add_scaled(zeros_like(step), -rate, step)
            move = _where(rate < 1, plain, scaled(-1.0, secants.improved(step)))
            trial = add_scaled(now, 1.0, move)
            trial_slope = self._slope(trial, replacement)
            trial_step = self.solve(trial_slope)
            trial_energy = dot(trial_slope, trial_step)
            falls = trial_energy < energy
            secants.add(Seen(move, add_scaled(trial_slope, -1.0, slope), add_scaled(trial_step, -1.0, step)))
            now, slope, step = (
                _where(falls, new, old) for new, old in ((trial, now), (trial_slope, slope), (trial_step, step))
            )
            energy = torch.where(falls, trial_energy, energy)
            rate = torch.where(falls, torch.ones_like(rate), rate / 2)

    def _slope(self, theta: Vectors, replacement: Replacement) -> Vectors:
        """Gradient of each full objective: over all examples, less those that are replaced, plus what replaces them."""
        total = self.gradient(theta, replacement.features, replacement.targets)
        old_features, old_targets = (
            part[replacement.positions.flatten()].unflatten(0, replacement.positions.shape)
            for part in (self.data.inputs, self.data.targets)
        )
        total = add_scaled(total, -1.0, self.gradient(theta, old_features, old_targets))
        copies, width = count(theta), self.problem.parameters["weight"].shape[0]
        for features, targets in self.data.batches(max(1, VALUES // (copies * width)), self.problem.device):
            residuals = self.residuals(outputs(theta, features), targets.expand(copies, -1))
            total = add_scaled(total, 1.0, _pulled_back(residuals, features, theta))
        return add_scaled(self.objective.regularisation_gradient(theta), 1.0 / len(self.data), total)


def outputs(theta: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """W_t f + b_t, [T, M, C], of features [T, M, D], or [M, D] that are the same for all t."""
    weight = theta["weight"]
    if features.dim() == 2:  # one product for all t
        found = (features @ weight.flatten(0, 1).T).unflatten(1, weight.shape[:2]).transpose(0, 1)
    else:
        found = features @ weight.mT
    return found + theta["bias"].unsqueeze(1) if "bias" in theta else found


def _pulled_back(residuals: Tensor, features: Tensor, theta: Mapping[str, Tensor]) -> Vectors:
    """Gradients in the parameters from gradients in the outputs [T, M, C], summed over M."""
    if features.dim() == 2:
        weight = (residuals.transpose(0, 1).flatten(1).T @ features).unflatten(0, residuals.shape[::2])
    else:
        weight = residuals.mT @ features
    named = {"weight": weight, "bias": residuals.sum(dim=1)}
    return {name: named[name] for name in theta}


def _where(chosen: Tensor, yes: Vectors, no: Vectors) -> Vectors:
    """The vectors of one block where `chosen` [T] holds, else those of the other."""
    return {
        name: torch.where(chosen.view(-1, *[1] * (value.dim() - 1)), value, no[name]) for name, value in yes.items()
    }
