"""Products of per-example gradients with blocks of vectors, by the cheapest exact contraction of each layer.

The gradients c_li of cotangent l and example i stay factored where a layer is used once per example; they are built as
matrices where positions outnumber what that would save.
"""

import torch
from torch import Tensor

from influence.layers.gradients import LayerGradients, PerExampleGradients, Readings
from influence.layers.rule import from_matrix, to_matrix
from influence.vectors import Vectors, rows

ENTRIES = 4096  # of a gradient multiplied in float64 at once
IMAGES = 2**21  # numbers between two products of a contraction


class GradientBlock:
    """The gradients of one batch, ready to be multiplied from both sides.

    Args:
        gradients: tells which parameters belong to which layer.
        readings: what was read of the batch, L cotangents and B examples.

    Attributes:
        shape: (L, B).
    """

    def __init__(self, gradients: PerExampleGradients, readings: Readings) -> None:
        self.layers = gradients.layers
        self.names = list(gradients.problem.parameters)
        self._forms = {name: _form(layer) for name, layer in readings.layers.items()}
        self._rest = {name: value.reshape(*value.shape[:2], -1) for name, value in readings.rest.items()}
        leading = [layer.gradients for layer in readings.layers.values()] + list(readings.rest.values())
        self.shape = (len(leading[0]), leading[0].shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes that the block holds."""
        tensors = [tensor for form in self._forms.values() for tensor in form.tensors] + list(self._rest.values())
        return sum(tensor.nbytes for tensor in tensors)

    def along(self, vectors: Vectors) -> Tensor:
        """<c_li, v_k> for vectors {name: [K, *shape]}, as [L, B, K]."""
        parts = []
        for layer in self.layers:
            matrices = to_matrix(vectors[layer.weight], vectors[layer.bias] if layer.bias else None)
            parts.append(self._forms[layer.name].along(matrices))
        parts += [torch.einsum("lbp,kp->lbk", value, rows(vectors[name])) for name, value in self._rest.items()]
        return torch.stack(parts).sum(dim=0)

    def cross(self, other: "GradientBlock") -> Tensor:
        """<c_li, c'_mj> of all columns with those of another block, [L B, L' B'], in float64."""
        parts = [self._forms[layer.name].cross(other._forms[layer.name]) for layer in self.layers]
        parts += [_inner_products(value, other._rest[name]) for name, value in self._rest.items()]
        return torch.stack(parts).sum(dim=0)

    def combine(self, weights: Tensor, shapes: dict[str, torch.Size]) -> Vectors:
        """sum_li weights_lik c_li, K vectors, from weights [L, B, K]; `shapes` are the parameters'."""
        answer: Vectors = {}
        for layer in self.layers:
            matrices = self._forms[layer.name].combine(weights)
            weight, bias = from_matrix(matrices, shapes[layer.weight], layer.bias is not None)
            answer[layer.weight] = weight
            if layer.bias is not None and bias is not None:
                answer[layer.bias] = bias
        for name, value in self._rest.items():
            answer[name] = torch.einsum("lbp,lbk->kp", value, weights).view(-1, *shapes[name])
        return {name: answer[name] for name in self.names}


def as_vectors(gradients: PerExampleGradients, readings: Readings) -> Vectors:
    """The gradients of cotangent 0 as a block of B vectors."""
    answer: Vectors = {}
    for layer in gradients.layers:
        matrices = readings.layers[layer.name].matrices()[0]
        shape = gradients.problem.parameters[layer.weight].shape
        weight, bias = from_matrix(matrices, shape, layer.bias is not None)
        answer[layer.weight] = weight
        if layer.bias is not None and bias is not None:
            answer[layer.bias] = bias
    answer |= {name: value[0] for name, value in readings.rest.items()}
    return {name: answer[name] for name in gradients.problem.parameters}


def along(layer: LayerGradients, matrices: Tensor) -> Tensor:
    """<c_li, M_k> of one layer's gradients with matrices [K, out, in (+ 1)], as [L, B, K]."""
    return _form(layer).along(matrices)


def _inner_products(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of rows [L, B, P] with rows [L', B', P], [L B, L' B'], in float64, a few entries at a time."""
    pairs = zip(left.flatten(0, 1).split(ENTRIES, dim=1), right.flatten(0, 1).split(ENTRIES, dim=1), strict=True)
    total = left.new_zeros(left.shape[:2].numel(), right.shape[:2].numel(), dtype=torch.float64)
    for own, others in pairs:
        total += own.double() @ others.double().T
    return total


def _form(layer: LayerGradients) -> "_Outer | _Matrices":
    return _Outer(layer) if layer.activations.shape[1] == 1 else _Matrices(layer.matrices())


class _Outer:
    """c_li = g_li a_i^T, never built."""

    def __init__(self, layer: LayerGradients) -> None:
        self.activations, self.gradients = layer.activations[:, 0], layer.gradients[:, :, 0]
        self.tensors = (self.activations, self.gradients)

    def along(self, matrices: Tensor) -> Tensor:
        # A few matrices at a time, so that what lies between the two products stays in the caches.
        size = max(1, IMAGES // (len(self.activations) * matrices.shape[1]))
        return torch.cat([self._along(part) for part in matrices.split(size)], dim=2)

    def _along(self, matrices: Tensor) -> Tensor:
        columns, outputs, _ = matrices.shape
        images = (self.activations @ matrices.flatten(0, 1).T).view(-1, columns, outputs)
        return torch.einsum("lbo,bko->lbk", self.gradients, images)

    def combine(self, weights: Tensor) -> Tensor:
        weighted = torch.einsum("lbo,lbk->bko", self.gradients, weights)
        batch, columns, outputs = weighted.shape
        return (weighted.reshape(batch, -1).T @ self.activations).view(columns, outputs, -1)

    def cross(self, other: "_Outer | _Matrices") -> Tensor:
        if not isinstance(other, _Outer):
            raise TypeError("the layer was used once per example in one block and several times in the other")
        activations = _inner_products(self.activations.unsqueeze(0), other.activations.unsqueeze(0))
        return _inner_products(self.gradients, other.gradients) * activations.repeat(
            len(self.gradients), len(other.gradients)
        )


class _Matrices:
    """c_li as matrices [L, B, out, in]."""

    def __init__(self, matrices: Tensor) -> None:
        self.shape = matrices.shape
        self.flat = matrices.flatten(2).flatten(0, 1)
        self.tensors = (self.flat,)

    def along(self, matrices: Tensor) -> Tensor:
        return (self.flat @ matrices.flatten(1).T).view(*self.shape[:2], -1)

    def combine(self, weights: Tensor) -> Tensor:
        return (weights.flatten(0, 1).T @ self.flat).view(-1, *self.shape[2:])

    def cross(self, other: "_Outer | _Matrices") -> Tensor:
        if not isinstance(other, _Matrices):
            raise TypeError("the layer was used several times per example in one block and once in the other")
        return _inner_products(self.flat.unsqueeze(0), other.flat.unsqueeze(0))
