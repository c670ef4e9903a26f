"""The Gauss-Newton matrix again, multiplied through the layers' factored gradients.

With c_il the gradient of example i's outputs along column l of a square root of H_i (there are as many columns as
outputs), G = 1/n sum_il c_il c_il^T exactly. The c_il cost one backward pass a column, shared by all vectors of the
block; after that a product is matrix products only. This is the faster form where outputs are few and vectors many.
"""

import sys
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.curvature.single_layer import add_single_layer
from influence.layers import GradientBlock, PerExampleGradients
from influence.layout import Layout
from influence.memory import activations_per_example
from influence.problem import Data
from influence.vectors import Vectors, count, zeros_like

EVERY_LABEL = sys.maxsize  # labels are never sampled here: the product is exact
VECTORS = 64  # that are multiplied at once, as a rule
ROWS = 8192  # examples whose matrix is written down at once


class FactoredGaussNewton(LinearOperator):
    """Products with G over all examples of `data`, without the regularisation. Same answers as `GaussNewton`.

    Args:
        gradients: reads the per-example gradients of the problem.
        data: the examples in the mean.
        memory_limit: bytes. Half is for the intermediate results of one batch; in the other half gradients are kept
            from one product to the next, as many as fit.

    Attributes:
        example_products: examples times vectors multiplied so far, for the certificate.
    """

    def __init__(self, gradients: PerExampleGradients, data: Data, memory_limit: int = 2**30) -> None:
        if not len(data):
            raise ValueError("the Gauss-Newton matrix needs at least one example")
        self.gradients, self.data = gradients, data
        self.example_products = 0
        problem = gradients.problem
        self._kept: list[GradientBlock] = []
        self._room = memory_limit // 2
        self._shapes = {name: value.shape for name, value in problem.parameters.items()}
        probe = next(iter(data.batches(1, problem.device)))
        labels = problem.outputs(problem.parameters, probe[0]).shape[-1]
        activations = activations_per_example(problem, probe[0])
        values = 8 * memory_limit // torch.finfo(problem.dtype).bits
        # Per example: the backward pass of every column, the columns' gradients, and products with a block of vectors.
        one = GradientBlock(gradients, gradients.read_columns(*probe, limit=EVERY_LABEL))
        widest = max([problem.parameters[layer.weight].shape[0] for layer in gradients.layers], default=1)
        held = 2 * labels * activations + 2 * 8 * one.nbytes // torch.finfo(problem.dtype).bits
        self._size = max(1, min(256, values // 2 // (held + 2 * VECTORS * widest)))
        self._rows = max(1, min(ROWS, values // 2 // (labels * (4 * activations + labels))))

    def multiply(self, vectors: Vectors) -> Vectors:
        total = zeros_like(vectors)
        for gradients in self.blocks():
            for name, value in gradients.combine(gradients.along(vectors), self._shapes).items():
                total[name] += value
        self.example_products += len(self.data) * count(vectors)
        return {name: value / len(self.data) for name, value in total.items()}

    def add_to(self, matrix: Tensor, like: Mapping[str, Tensor], scale: float = 1.0) -> int:
        """As `LinearOperator.add_to`; where one layer used once per example holds all parameters, with no product."""
        if not self._one_layer_once():
            return super().add_to(matrix, like, scale)
        (layer,) = self.gradients.layers
        for inputs, targets in self.data.batches(self._rows, self.gradients.problem.device):
            read = self.gradients.read_columns(inputs, targets, limit=EVERY_LABEL).layers[layer.name]
            add_single_layer(matrix, Layout.of(like), layer, read, scale / len(self.data))
        return 0

    def _one_layer_once(self) -> bool:
        """Whether all the parameters are one layer's, used once per example."""
        if len(self.gradients.layers) != 1 or self.gradients.rest:
            return False
        inputs, targets = next(iter(self.data.batches(1, self.gradients.problem.device)))
        (read,) = self.gradients.read_columns(inputs, targets, limit=EVERY_LABEL).layers.values()
        return read.activations.shape[1] == 1

    def blocks(self) -> Iterator[GradientBlock]:
        """The c_il, batch by batch in the order of the examples."""
        for index, (inputs, targets) in enumerate(self.data.batches(self._size, self.gradients.problem.device)):
            if index < len(self._kept):
                yield self._kept[index]
                continue
            block = GradientBlock(self.gradients, self.gradients.read_columns(inputs, targets, limit=EVERY_LABEL))
            if index == len(self._kept) and block.nbytes <= self._room:
                self._kept.append(block)
                self._room -= block.nbytes
            yield block
