"""A whole matrix in memory, for problems small enough to afford it."""

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.layout import Layout
from influence.vectors import Vectors

LARGEST = 16_384  # parameters; their matrix takes 2 GiB in float64, and its decomposition some minutes
CHUNK = 256  # columns multiplied at once


class Dense(LinearOperator):
    """A symmetric matrix [P, P] on named parameters.

    Args:
        matrix: [P, P]; only its symmetric part counts.
        layout: which rows belong to which parameter.
    """

    def __init__(self, matrix: Tensor, layout: Layout) -> None:
        self.matrix, self.layout = (matrix + matrix.T) / 2, layout

    @classmethod
    def of(cls, operator: LinearOperator, like: Mapping[str, Tensor], largest: int = LARGEST) -> "Dense":
        """The matrix of any symmetric operator, by multiplying the identity.

        Args:
            operator: what to materialise.
            like: one vector of the space, {name: [*shape]}, such as `Problem.parameters`; gives dtype and device.
            largest: number of parameters up to which this is allowed.

        Raises:
            ValueError: there are more parameters, or the operator is not symmetric.
            FloatingPointError: a product was not finite.
        """
        layout, sample = Layout.of(like), next(iter(like.values()))
        size = layout.size
        if size > largest:
            raise ValueError(
                f"a dense matrix of {size:,} parameters takes {size**2 * sample.element_size() / 2**30:.3g} GiB and is "
                f"refused above {largest:,} parameters: use conjugate gradients, or fewer parameters"
            )
        matrix = sample.new_empty(size, size)
        for start in range(0, size, CHUNK):
            columns = torch.arange(start, min(start + CHUNK, size), device=sample.device)
            unit = sample.new_zeros(len(columns), size)
            unit[torch.arange(len(columns), device=sample.device), columns] = 1.0
            matrix[columns] = layout.flatten(operator @ layout.unflatten(unit))
        if not bool(matrix.isfinite().all()):
            raise FloatingPointError("the operator returned NaN or infinity: the model's outputs or the data overflow")
        if float((matrix - matrix.T).norm()) > 100 * torch.finfo(matrix.dtype).eps ** 0.5 * float(matrix.norm()):
            raise ValueError("the operator is not symmetric: products of operators that do not commute are not")
        return cls(matrix, layout)

    def multiply(self, vectors: Vectors) -> Vectors:
        return self.layout.unflatten(self.layout.flatten(vectors) @ self.matrix)

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        """(A + shift * I)^exponent times each vector, by the eigendecomposition, which is kept.

        Raises:
            ZeroDivisionError: the exponent is negative and A + shift * I singular.
            ValueError: the exponent is not whole and A + shift * I has a negative eigenvalue.
        """
        values, basis = self.eigen
        moved = values + shift
        rounding = torch.finfo(self.matrix.dtype).eps * len(values) * float(values.abs().max())
        if exponent < 0 and bool((moved.abs() <= rounding).any()):
            raise ZeroDivisionError("the matrix has a zero eigenvalue: add damping or weight decay to invert it")
        if exponent != int(exponent):
            if float(moved.min()) < -rounding:
                raise ValueError(f"no power {exponent:g}: the smallest eigenvalue is {float(moved.min()):.3g}")
            moved = moved.clamp_min(0)
        flat = self.layout.flatten(vectors)
        answer = (flat.double() @ basis * moved**exponent) @ basis.T
        return self.layout.unflatten(answer.to(flat.dtype))

    @cached_property
    def eigen(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues [P], ascending, and eigenvectors [P, P] in columns, in float64."""
        values, basis = torch.linalg.eigh(self.matrix.double())
        return values, basis

    def mean_eigenvalue(self) -> float:
        """Trace over the number of parameters."""
        return float(self.matrix.double().trace()) / len(self.matrix)
