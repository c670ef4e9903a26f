"""The diagonal of the Gauss-Newton matrix: the cheapest curvature, and a preconditioner."""

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.vectors import Vectors


class Diagonal(LinearOperator):
    """diag(values); `fit_diagonal` takes the values from the Gauss-Newton matrix.

    Args:
        values: one number per parameter, {name: [*shape]}, none negative.
    """

    def __init__(self, values: dict[str, Tensor]) -> None:
        self.values = values

    def multiply(self, vectors: Vectors) -> Vectors:
        return {name: self.values[name] * value for name, value in vectors.items()}

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        """(diag(values) + shift * I)^exponent times each vector.

        Raises:
            ZeroDivisionError: the exponent is negative, a value zero to rounding and not shifted.
        """
        if exponent < 0 and shift <= 0 and self.is_singular():
            raise ZeroDivisionError("the diagonal holds zeros: add damping or weight decay to invert it")
        return {name: (self.values[name] + shift) ** exponent * value for name, value in vectors.items()}

    def is_singular(self) -> bool:
        """Whether the smallest value cannot be told from zero."""
        largest = max(float(value.max()) for value in self.values.values())
        smallest = min(float(value.min()) for value in self.values.values())
        return smallest <= torch.finfo(next(iter(self.values.values())).dtype).eps * largest

    def mean_eigenvalue(self) -> float:
        """The mean value; fitted exactly, it is that of the Gauss-Newton matrix itself."""
        count = sum(value.numel() for value in self.values.values())
        return float(sum(value.double().sum() for value in self.values.values())) / count
