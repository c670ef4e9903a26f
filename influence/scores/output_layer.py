"""Leaving training examples out of the last layer of a model, by one Newton step each.

Where the last layer is linear, outputs z = W a, only an example's activations a and its outputs matter. With
A = n (G + shift I) - shift I, G the curvature of the layer and n the number of training examples, M = J A^-1 J^T (J the
derivative of the example's outputs in W), H the Hessian of its loss in its outputs, g the gradient of its loss in them
and r that of the regularisation in W, leaving the example out moves its own outputs by

    (I - M H)^-1 (M g + J A^-1 r),

the step of `influence.scores.newton` for that layer, read at the example itself: I - M H is one less the leverage. In
the eigenbasis of EK-FAC, M is Q_S diag_o(sum_i W_oi a~_i^2) Q_S^T, so no gradient is built.
"""

import torch
from torch import Tensor

from influence.curvature.factored import EVERY_LABEL
from influence.curvature.kronecker import EKFAC
from influence.layers import PerExampleGradients, Readings
from influence.layers.cotangents import hessian_columns, measurement_cotangents
from influence.layers.rule import to_matrix
from influence.vectors import block

LARGEST_LEVERAGE = 0.99  # of an exact curvature it is below 1; that of an approximate one is held below
VALUES = 2**24  # numbers of one intermediate result at once


def find_output_layer(gradients: PerExampleGradients, probe: Tensor) -> str | None:
    """Name of the layer whose outputs, used once per example, are the model's outputs; None: there is none.

    Args:
        gradients: reads per-example gradients of the model.
        probe: a few inputs [B, ...].
    """
    with torch.no_grad():
        outputs = gradients.problem.outputs(gradients.problem.parameters, probe)
    drawn = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0), dtype=outputs.dtype)
    cotangents = drawn.to(outputs.device).unsqueeze(1)  # one position each
    readings = gradients.read(probe, cotangents.transpose(0, 1))
    for name, layer in readings.layers.items():
        if layer.gradients[0].shape == cotangents.shape and torch.equal(layer.gradients[0], cotangents):
            return name
    return None


class OutputLayerLeaveOneOut:
    """Loss of each training example after one Newton step of the output layer without it; the other layers stay.

    Args:
        ekfac: the fitted curvature.
        layer: name of the output layer, see `find_output_layer`.
        shift: damping plus weight decay.
        examples: n, the size of the training set, at least 2.
    """

    def __init__(self, ekfac: EKFAC, layer: str, shift: float, examples: int) -> None:
        self.gradients, self.layer, self.factors = ekfac.gradients, layer, ekfac.layers[layer]
        self._weights = 1.0 / (examples * self.factors.eigenvalues + (examples - 1) * shift)
        regularisation = block(self.gradients.problem.regularisation_gradient())
        own = next(one for one in self.gradients.layers if one.name == layer)
        matrix = to_matrix(regularisation[own.weight], regularisation[own.bias] if own.bias else None)[0]
        self._pull = self._weights * self.factors.rotate(matrix)

    def from_readings(self, readings: Readings, targets: Tensor) -> Tensor:
        """The losses, [B], in nats, of a batch whose gradients were read.

        Args:
            readings: of the batch; the activations of the output layer and the outputs are used.
            targets: [B].
        """
        outputs, classes = readings.outputs, readings.outputs.shape[1]
        activations = self.factors.rotate_activations(readings.layers[self.layer].activations[:, 0])
        size = max(1, VALUES // classes**2)
        parts = [
            self._losses(
                outputs[start : start + size], activations[start : start + size], targets[start : start + size]
            )
            for start in range(0, len(outputs), size)
        ]
        return torch.cat(parts)

    def _losses(self, outputs: Tensor, activations: Tensor, targets: Tensor) -> Tensor:
        problem = self.gradients.problem
        identity = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        basis = identity if self.factors.gradient_basis is None else self.factors.gradient_basis
        spread = activations.square() @ self._weights.T
        move = torch.einsum("co,bo,do->bcd", basis, spread, basis)
        slope = measurement_cotangents(problem.objective.loss, outputs, targets)[0]
        roots = hessian_columns(problem, outputs, targets, EVERY_LABEL)
        leverage = torch.linalg.eigvalsh(torch.einsum("kbc,bcd,lbd->bkl", roots, move, roots))[:, -1]
        move = move * (LARGEST_LEVERAGE / leverage.clamp(min=LARGEST_LEVERAGE))[:, None, None]
        right = torch.einsum("bcd,bd->bc", move, slope) + activations @ self._pull.T @ basis.T
        left = identity - move @ torch.einsum("lbc,lbd->bcd", roots, roots)
        return problem.objective.loss(outputs + torch.linalg.solve(left, right), targets)
