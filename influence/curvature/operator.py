"""Linear operators on parameter space: the base that turns one method into an algebra."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import overload

import torch
from torch import Tensor

from influence.layout import Layout
from influence.vectors import Vectors, add_scaled, scaled

COLUMNS = 256  # of the identity multiplied at once


class LinearOperator(ABC):
    """An operator on blocks of vectors, symmetric unless it says otherwise.

    A subclass says how it multiplies; the algebra follows: `A @ V`, `A @ B`, `A + B`, `A - B`, `A + 0.1` (times the
    identity), `2.0 * A`, `-A`.
    """

    @abstractmethod
    def multiply(self, vectors: Vectors) -> Vectors:
        """The operator times each of K vectors {name: [K, *shape]}."""

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        """(A + shift * I)^exponent times each vector.

        Here by repeated products; operators that know their eigenvalues take any exponent.

        Raises:
            TypeError: the exponent is not a whole number from 0 on.
        """
        if exponent < 0 or exponent != int(exponent):
            raise TypeError(f"{type(self).__name__} has no power {exponent:g}: its eigenvalues are not known")
        for _ in range(int(exponent)):
            vectors = add_scaled(self @ vectors, shift, vectors)
        return vectors

    def add_to(self, matrix: Tensor, like: Mapping[str, Tensor], scale: float = 1.0) -> int:
        """Add scale * A to a matrix in place; returns how many vectors the operator multiplied for it.

        Here all of the identity's; operators that know their entries write them down.

        Args:
            matrix: [P, P], its rows laid out as `Layout.of(like)`.
            like: one vector of the space, {name: [*shape]}; gives names, dtype and device.
            scale: factor of the operator.
        """
        layout, sample = Layout.of(like), next(iter(like.values()))
        for start in range(0, layout.size, COLUMNS):
            columns = torch.arange(start, min(start + COLUMNS, layout.size), device=sample.device)
            unit = sample.new_zeros(len(columns), layout.size)
            unit[torch.arange(len(columns), device=sample.device), columns] = 1.0
            matrix[columns] += scale * layout.flatten(self @ layout.unflatten(unit))
        return layout.size

    @overload
    def __matmul__(self, other: Vectors) -> Vectors: ...
    @overload
    def __matmul__(self, other: "LinearOperator") -> "LinearOperator": ...
    def __matmul__(self, other: "Vectors | LinearOperator") -> "Vectors | LinearOperator":
        return Composed(self, other) if isinstance(other, LinearOperator) else self.multiply(other)

    def __add__(self, other: "LinearOperator | float") -> "LinearOperator":
        """Another operator added, or a number times the identity."""
        return Sum(self, other) if isinstance(other, LinearOperator) else Shifted(self, other)

    def __sub__(self, other: "LinearOperator | float") -> "LinearOperator":
        return self + -other

    def __neg__(self) -> "LinearOperator":
        return -1.0 * self

    def __rmul__(self, factor: float) -> "LinearOperator":
        return Scaled(factor, self)


class Sum(LinearOperator):
    """A + B."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        self.left, self.right = left, right

    def multiply(self, vectors: Vectors) -> Vectors:
        return add_scaled(self.left @ vectors, 1.0, self.right @ vectors)

    def add_to(self, matrix: Tensor, like: Mapping[str, Tensor], scale: float = 1.0) -> int:
        return max(self.left.add_to(matrix, like, scale), self.right.add_to(matrix, like, scale))


class Composed(LinearOperator):
    """A B: first B, then A. Symmetric only where the two commute."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        self.left, self.right = left, right

    def multiply(self, vectors: Vectors) -> Vectors:
        return self.left @ (self.right @ vectors)


class Shifted(LinearOperator):
    """A + shift * I; it has the powers that A has."""

    def __init__(self, operator: LinearOperator, shift: float) -> None:
        self.operator, self.shift = operator, shift

    def multiply(self, vectors: Vectors) -> Vectors:
        return add_scaled(self.operator @ vectors, self.shift, vectors)

    def add_to(self, matrix: Tensor, like: Mapping[str, Tensor], scale: float = 1.0) -> int:
        matrix.diagonal().add_(scale * self.shift)
        return self.operator.add_to(matrix, like, scale)

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        return self.operator.power(vectors, exponent, self.shift + shift)


class Scaled(LinearOperator):
    """factor * A; for a positive factor it has the powers that A has."""

    def __init__(self, factor: float, operator: LinearOperator) -> None:
        self.factor, self.operator = factor, operator

    def multiply(self, vectors: Vectors) -> Vectors:
        return scaled(self.factor, self.operator @ vectors)

    def add_to(self, matrix: Tensor, like: Mapping[str, Tensor], scale: float = 1.0) -> int:
        return self.operator.add_to(matrix, like, scale * self.factor)

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        if self.factor <= 0:
            return super().power(vectors, exponent, shift)
        return scaled(self.factor**exponent, self.operator.power(vectors, exponent, shift / self.factor))
