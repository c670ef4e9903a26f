"""Leaving training examples out by one Newton step, with the leverage of what is left out.

The objective without a set S of s of the n examples keeps its regularisation,

    J_-S(theta) = 1/(n - s) sum_{j not in S} loss_j(theta) + regularisation(theta),

so at a minimum of J its gradient is -g_S / (n - s), g_S being the sum over S of the gradients of the examples' shares
of J (loss and regularisation), and its Hessian is (n H - s D - sum_S H_i) / (n - s), with H that of J, D that of the
regularisation and H_i that of loss_i. One Newton step from theta is therefore

    theta_-S - theta = (n H - s D - V V^T)^-1 g_S,      V V^T = sum_S H_i,

where the columns of V are the c_il: gradients of example i's outputs along the columns of the square root of the loss's
Hessian in the outputs. Woodbury's formula needs (n H - s D)^-1 on V and g_S alone, and a matrix of order s * L. Damping
d stands for H + d I and D + d I throughout.

With V V^T left out this is the influence function (Koh & Liang 2017); with it, points that pull the model towards
themselves get what the first order denies them.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from influence.curvature.factored import EVERY_LABEL
from influence.curvature.regularisation import Regularisation
from influence.inverse.certificate import NotPositiveDefiniteError
from influence.layers import LayerGradients, PerExampleGradients, Readings, as_vectors
from influence.layers.cotangents import hessian_columns, measurement_cotangents
from influence.problem import Data, TensorData
from influence.subset import check_size
from influence.vectors import Vectors, add_scaled, block, norm, scaled

Solve = Callable[[Vectors], Vectors]

COPIES = 8  # of the columns of V that live in memory at once, the solver's included
AT_ONCE = 256  # sets: more gain no speed
TERMS = 200  # of the series for (n H - s D)^-1; it gains a factor s / n a term


class NewtonStep:
    """Changes of the parameters when sets of training examples are left out.

    The step is the exact Newton step where the outputs are linear in the parameters (generalised linear models) and
    `solve` inverts the Hessian; for least squares it is the exact answer. For other models H_i is the Gauss-Newton
    matrix of the example. The gradient of J at theta is taken to be zero: where training stopped early, the step tells
    what leaving out adds, not what further training would.

    Args:
        gradients: reads per-example gradients of the problem.
        solve: (H + damping I)^-1 of a block of vectors.
        examples: n, the size of the training set.
        damping: that of `solve`, in absolute units.
        tolerance: relative size of the first term left off where regularisation and damping are taken from n H.
        memory_limit: bytes for the columns of V and what the solver makes of them.

    Attributes:
        decay: D + damping I.
    """

    def __init__(
        self,
        gradients: PerExampleGradients,
        solve: Solve,
        examples: int,
        damping: float = 0.0,
        tolerance: float = 1e-8,
        memory_limit: int = 2**30,
    ) -> None:
        self.gradients, self.solve, self.examples = gradients, solve, examples
        self.tolerance = max(tolerance, torch.finfo(gradients.problem.dtype).eps)
        self.memory_limit = memory_limit
        problem = gradients.problem
        self.decay = Regularisation(problem) + damping
        self._unshifted = damping == 0.0 and problem.objective.weight_decay == 0.0
        self._regularisation = block(problem.regularisation_gradient())

    def one_by_one(self, left_out: Data) -> Iterator[Vectors]:
        """Changes when each of K examples is left out alone, {name: [B, *shape]} a block, K in all, in order.

        Raises: see `changes`.
        """
        problem = self.gradients.problem
        first = next(iter(left_out.batches(1, problem.device)))
        columns = 1 + self.columns(TensorData(*first))
        width = COPIES * columns * problem.parameter_count * torch.finfo(problem.dtype).bits // 8
        together = max(1, min(AT_ONCE, self.memory_limit // width))
        for inputs, targets in left_out.batches(together, problem.device):
            yield self.changes(inputs.unsqueeze(1), targets.unsqueeze(1))

    def changes(self, inputs: Tensor, targets: Tensor) -> Vectors:
        """Changes when each of K sets of s examples is left out, {name: [K, *shape]}.

        Args:
            inputs: [K, s, ...], s < n.
            targets: [K, s, ...].

        Raises:
            ValueError: nothing would be left to train on.
            NotPositiveDefiniteError: the curvature of what is left is not positive definite.
        """
        sets, size = inputs.shape[:2]
        check_size(size, self.examples)
        losses, columns = self._columns(inputs.flatten(0, 1), targets.flatten(0, 1))
        shares = {
            name: value.unflatten(0, (sets, size)).sum(dim=1) + size * self._regularisation[name]
            for name, value in losses.items()
        }
        # One block for the solver: g_S, then V, of each set.
        right = {
            name: torch.cat([share.unsqueeze(1), columns[name].reshape(sets, -1, *share.shape[1:])], dim=1)
            for name, share in shares.items()
        }
        solved = self._solve_reduced({name: value.flatten(0, 1) for name, value in right.items()}, size)
        answer = {name: value.unflatten(0, (sets, -1)) for name, value in solved.items()}
        products = _products({name: value[:, 1:] for name, value in right.items()}, answer)
        weights = _leverage_weights(products[:, :, 1:], products[:, :, 0])
        return {
            name: value[:, 0] + torch.einsum("kr,kr...->k...", weights, value[:, 1:]) for name, value in answer.items()
        }

    def columns(self, left_out: Data) -> int:
        """How many columns V has for a set of all these examples, s * L."""
        problem = self.gradients.problem
        inputs, targets = next(iter(left_out.batches(1, problem.device)))
        with torch.no_grad():
            outputs = problem.outputs(problem.parameters, inputs)
        return len(left_out) * len(hessian_columns(problem, outputs, targets, EVERY_LABEL))

    def _columns(self, inputs: Tensor, targets: Tensor) -> tuple[Vectors, Vectors]:
        """Gradient of each example's loss, {name: [B, *shape]}, and its c_il, {name: [B, L, *shape]}."""
        problem = self.gradients.problem
        with torch.no_grad():
            outputs = problem.outputs(problem.parameters, inputs)
        roots = hessian_columns(problem, outputs, targets, EVERY_LABEL)
        cotangents = torch.cat([measurement_cotangents(problem.objective.loss, outputs, targets), roots])
        readings = self.gradients.read(inputs, cotangents)
        each = [as_vectors(self.gradients, _cotangent(readings, index)) for index in range(len(cotangents))]
        stacked = {name: torch.stack([part[name] for part in each[1:]], dim=1) for name in each[0]}
        return each[0], stacked

    def _solve_reduced(self, right: Vectors, size: int) -> Vectors:
        """(n H - s D)^-1 of a block, as the series over (n H)^-1 s D, whose terms shrink by s / n or more."""
        shrink = size / self.examples
        term = total = scaled(1.0 / self.examples, self.solve(right))
        if self._unshifted:
            return total
        for _ in range(TERMS):
            if bool((shrink * norm(term) <= self.tolerance * norm(total)).all()):
                return total
            term = scaled(shrink, self.solve(self.decay @ term))
            total = add_scaled(total, 1.0, term)
            if not bool(norm(total).isfinite().all()):
                break
        raise NotPositiveDefiniteError(
            f"the curvature without {size:,} of {self.examples:,} examples cannot be inverted: its regularisation is "
            "larger than the whole; leave out fewer examples, or use another curvature"
        )


def _cotangent(readings: Readings, index: int) -> Readings:
    """What was read for one of the cotangents."""
    layers = {
        name: LayerGradients(layer.activations, layer.gradients[index : index + 1])
        for name, layer in readings.layers.items()
    }
    rest = {name: value[index : index + 1] for name, value in readings.rest.items()}
    return Readings(readings.outputs, layers, rest)


def _products(left: Vectors, right: Vectors) -> Tensor:
    """Inner products within each set, [K, R, R'], of {name: [K, R, *shape]} and {name: [K, R', *shape]}."""
    flat = [
        (value.reshape(*value.shape[:2], -1), right[name].reshape(*right[name].shape[:2], -1))
        for name, value in left.items()
    ]
    return torch.stack([torch.bmm(value, other.mT) for value, other in flat]).sum(dim=0)


def _leverage_weights(leverage: Tensor, pull: Tensor) -> Tensor:
    """(I - T)^-1 t of each set, [K, R], from the leverage T = V^T A^-1 V [K, R, R] and t = V^T A^-1 g_S [K, R].

    Raises:
        NotPositiveDefiniteError: a leverage has an eigenvalue of 1 or more.
    """
    identity = torch.eye(leverage.shape[1], dtype=leverage.dtype, device=leverage.device)
    left = identity - (leverage + leverage.mT) / 2
    factor, failure = torch.linalg.cholesky_ex(left)
    if bool(failure.any()):
        first = int(failure.nonzero()[0])
        smallest = float(torch.linalg.eigvalsh(left[first])[0])
        raise NotPositiveDefiniteError(
            f"leaving out set {first} of the block leaves a curvature that is not positive definite (1 - leverage is "
            f"{smallest:.3g} at its smallest): add damping or weight decay, or use the exact curvature"
        )
    return torch.cholesky_solve(pull.unsqueeze(-1), factor).squeeze(-1)
