"""Quadratic forms of per-example gradients in functions of EK-FAC, without building a gradient where a layer allows it.

Of a layer used once per example the gradient g a^T is, in the eigenbases, the outer product of g~ = Q_S^T g and
a~ = Q_A^T a. Its share of m^T f(G) m is (g~^2)^T f(Lambda) (a~^2).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from influence.curvature.kronecker import EKFAC, LayerFactors
from influence.layers import LayerGradients, Readings
from influence.vectors import rows


def quadratic_form(ekfac: EKFAC, readings: Readings, function: Callable[[Tensor], Tensor]) -> Tensor:
    """m^T f(G) m of each example, [B], m being its gradient and G EK-FAC or K-FAC.

    Args:
        ekfac: the fitted curvature.
        readings: gradients of a batch, with L = 1.
        function: f, of eigenvalues of any shape, one by one.
    """
    parts = [_of_layer(ekfac.layers[name], layer, function) for name, layer in readings.layers.items()]
    parts += [rows(value[0].square() * function(ekfac.rest[name])).sum(dim=1) for name, value in readings.rest.items()]
    return torch.stack(parts).sum(dim=0)


def _of_layer(factors: LayerFactors, layer: LayerGradients, function: Callable[[Tensor], Tensor]) -> Tensor:
    activations, gradients = layer.activations, factors.rotate_gradients(layer.gradients[0])
    weights = function(factors.eigenvalues)
    if activations.shape[1] == 1:  # an outer product: no gradient is built
        a = factors.rotate_activations(activations[:, 0])
        return ((gradients[:, 0].square() @ weights) * a.square()).sum(dim=1)
    # Rotated before the sum over positions or after it, whichever are fewer: positions or outputs.
    before = activations.shape[1] < gradients.shape[2]
    sums = gradients.mT @ (factors.rotate_activations(activations) if before else activations)
    squares = (sums if before else factors.rotate_activations(sums)).square_()
    return (squares * weights).sum(dim=(1, 2))
