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
    a, g = layer.activations, layer.gradients[0]
    a = a if factors.activation_basis is None else a @ factors.activation_basis
    g = g if factors.gradient_basis is None else g @ factors.gradient_basis
    weights = function(factors.eigenvalues)
    if a.shape[1] == 1:  # an outer product: no gradient is built
        return ((g[:, 0].square() @ weights) * a[:, 0].square()).sum(dim=1)
    return torch.einsum("boi,oi->b", torch.einsum("bto,bti->boi", g, a).square(), weights)
