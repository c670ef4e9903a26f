"""The Gauss-Newton matrix written down, where one layer holds all the parameters: generalised linear models.

With c_il = g_il a_i^T for a layer used once per example, and Lambda_i = sum_l g_il g_il^T, the block of outputs o and q
of sum_il c_il c_il^T is A^T diag(Lambda_i[o, q]) A: one matrix product for each pair of outputs, in place of one
product with the operator for each parameter.
"""

import torch
from torch import Tensor

from influence.layers import LayerGradients
from influence.layers.recording import Layer
from influence.layout import Layout

STRIPS = 4  # a symmetric block is multiplied in strips from the diagonal on: (1 + 1 / STRIPS) / 2 of the work


def add_single_layer(matrix: Tensor, layout: Layout, layer: Layer, read: LayerGradients, scale: float) -> None:
    """Add scale * sum_il c_il c_il^T of one batch to a matrix, in place.

    Args:
        matrix: [P, P].
        layout: of its rows.
        layer: the one layer; it holds every parameter of the layout.
        read: its gradients along the columns of the output Hessian's root, at one position an example.
        scale: what the sum is multiplied by.

    Raises:
        ValueError: the layer was used at several positions.
    """
    if read.activations.shape[1] != 1:
        raise ValueError(f"layer {layer.name!r} is used {read.activations.shape[1]} times per example, not once")
    activations, gradients = read.activations[:, 0], read.gradients[:, :, 0]
    weights = scale * torch.einsum("lbo,lbq->oqb", gradients, gradients)
    rows = _rows(layout, layer, gradients.shape[-1], activations.shape[-1])
    for o in range(len(rows)):
        for q in range(o, len(rows)):
            _add_block(matrix, rows[o], rows[q], _weighted_square(activations, weights[o, q]), o != q)


def _rows(layout: Layout, layer: Layer, outputs: int, width: int) -> list[list[tuple[slice, slice]]]:
    """For each output: which rows of the matrix belong to which of the layer's inputs, as (rows, inputs)."""
    starts, at = {}, 0
    for name, shape in layout.shapes.items():
        starts[name], at = at, at + shape.numel()
    inputs = width if layer.bias is None else width - 1
    answer = []
    for output in range(outputs):
        start = starts[layer.weight] + output * inputs
        found = [(slice(start, start + inputs), slice(0, inputs))]
        if layer.bias is not None:
            bias = starts[layer.bias] + output
            found.append((slice(bias, bias + 1), slice(inputs, width)))
        answer.append(found)
    return answer


def _weighted_square(activations: Tensor, weights: Tensor) -> Tensor:
    """A^T diag(weights) A, [in, in], from A [B, in]."""
    width = activations.shape[1]
    square = activations.new_empty(width, width)
    step = -(-width // STRIPS)
    for start in range(0, width, step):
        end = min(start + step, width)
        strip = activations[:, start:end] * weights.unsqueeze(1)
        square[start:end, start:] = strip.T @ activations[:, start:]
        square[end:, start:end] = square[start:end, end:].T
    return square


def _add_block(
    matrix: Tensor,
    rows: list[tuple[slice, slice]],
    columns: list[tuple[slice, slice]],
    square: Tensor,
    off_diagonal: bool,
) -> None:
    """Put the block of a pair of outputs in its place, and in its mirror place where that is another."""
    for row, left in rows:
        for column, right in columns:
            matrix[row, column] += square[left, right]
            if off_diagonal:
                matrix[column, row] += square[right, left]
