"""A mean over examples, multiplied batch by batch within a memory limit."""

from abc import abstractmethod

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.memory import activations_per_example
from influence.problem import Data, Problem
from influence.vectors import Vectors, concatenate, count, select, zeros_like

COLUMNS, EXAMPLES = 64, 256  # more vectors or examples at once than these gain no speed


class BatchedOperator(LinearOperator):
    """1/n sum_i M_i, where a subclass says how the M_i of one batch multiply a block of vectors.

    Args:
        problem: the model and its objective.
        data: the examples in the mean.
        memory_limit: bytes that the intermediate results of one batch may take; decides how many examples and how
            many vectors go through the model at once, and never changes the answer beyond rounding.

    Attributes:
        copies: how many times the activations of a batch live in memory at once, per vector.
        example_products: examples times vectors multiplied so far, for the certificate.

    Raises:
        ValueError: there are no examples.
    """

    copies = 6

    def __init__(self, problem: Problem, data: Data, memory_limit: int = 2**30) -> None:
        if not len(data):
            raise ValueError(f"{type(self).__name__} needs at least one example")
        self.problem, self.data = problem, data
        self.example_products = 0
        probe = next(iter(data.batches(1, problem.device)))[0]
        width = activations_per_example(problem, probe)
        self._values = max(1, memory_limit // (self.copies * width * torch.finfo(problem.dtype).bits // 8))

    @abstractmethod
    def batch_product(self, inputs: Tensor, targets: Tensor, vectors: Vectors) -> Vectors:
        """sum_i M_i v over one batch, for each vector of the block."""

    def multiply(self, vectors: Vectors) -> Vectors:
        columns = max(1, min(count(vectors), COLUMNS, self._values))
        size = max(1, min(EXAMPLES, self._values // columns, len(self.data)))
        parts = [
            self._product(select(vectors, slice(start, start + columns)), size)
            for start in range(0, count(vectors), columns)
        ]
        return concatenate(parts)

    def _product(self, vectors: Vectors, size: int) -> Vectors:
        total = zeros_like(vectors)
        for inputs, targets in self.data.batches(size, self.problem.device):
            for name, value in self.batch_product(inputs, targets, vectors).items():
                total[name] += value
            self.example_products += len(inputs) * count(vectors)
        return {name: value / len(self.data) for name, value in total.items()}
