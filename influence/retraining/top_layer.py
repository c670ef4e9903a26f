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
from influence.vectors import Vectors, add_scaled, count, dot, norm, select, store

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
        active = torch.arange(count(theta), device=replacement.positions.device)
        slope = self._slope(theta, replacement)
        step = self.solve(slope)
        size, energy, rate = norm(slope), dot(slope, step), torch.ones_like(norm(slope))
        while len(active := (size > self.tolerance).nonzero().squeeze(1)):
            if not bool(((energy > 0) & (rate >= SMALLEST_RATE))[active].all()):
                raise NotConvergedError(
                    f"{len(active):,} of {count(theta):,} sets of changes are not retrained: the largest gradient is "
                    f"{float(size.max()):.3g}, not {self.tolerance:g}; change fewer examples, or ask for less"
                )
            trial = add_scaled(select(theta, active), -rate[active], select(step, active))
            slope = self._slope(trial, replacement.select(active))
            direction = self.solve(slope)
            found = dot(slope, direction)
            falls = found < energy[active]
            better, moved = falls.nonzero().squeeze(1), active[falls]
            rate[active[~falls]] /= 2
            for target, values in ((theta, trial), (step, direction)):
                store(target, moved, select(values, better))
            energy[moved], size[moved] = found[better], norm(select(slope, better))
        return theta

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
    found = features @ theta["weight"].mT
    return found + theta["bias"].unsqueeze(1) if "bias" in theta else found


def _pulled_back(residuals: Tensor, features: Tensor, theta: Mapping[str, Tensor]) -> Vectors:
    """Gradients in the parameters from gradients in the outputs [T, M, C], summed over M."""
    named = {"weight": residuals.mT @ features, "bias": residuals.sum(dim=1)}
    return {name: named[name] for name in theta}
