"""A whole matrix in memory, for problems small enough to afford it."""

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.layout import Layout
from influence.vectors import Vectors

LARGEST = 16_384  # parameters; their matrix takes 2 GiB in float64, and its decomposition some minutes
CHUNK = 1024  # rows and columns of a matrix looked at in one go


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
        """The matrix of any symmetric operator.

        Arguments and errors: see `entries`.
        """
        return cls(entries(operator, like, next(iter(like.values())).dtype, largest)[0], Layout.of(like))

    def multiply(self, vectors: Vectors) -> Vectors:
        return self.layout.unflatten(self.layout.flatten(vectors) @ self.matrix)

    def add_to(self, matrix: Tensor, like: Mapping[str, Tensor], scale: float = 1.0) -> int:
        if list(like) != list(self.layout.shapes):
            return super().add_to(matrix, like, scale)
        matrix.add_(self.matrix, alpha=scale)
        return 0

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


def entries(
    operator: LinearOperator, like: Mapping[str, Tensor], dtype: torch.dtype, largest: int = LARGEST
) -> tuple[Tensor, int]:
    """The matrix [P, P] of any symmetric operator, with no copy beside it, and how many vectors it took to make.

    Args:
        operator: what to materialise.
        like: one vector of the space, {name: [*shape]}, such as `Problem.parameters`; gives names and device.
        dtype: of the matrix.
        largest: number of parameters up to which this is allowed.

    Raises:
        ValueError: there are more parameters, or the operator is not symmetric.
        FloatingPointError: an entry is not finite.
    """
    size, sample = Layout.of(like).size, next(iter(like.values()))
    if size > largest:
        raise ValueError(
            f"a dense matrix of {size:,} parameters takes {size**2 * dtype.itemsize / 2**30:.3g} GiB and is refused "
            f"above {largest:,} parameters: use conjugate gradients, or fewer parameters"
        )
    matrix = sample.new_zeros(size, size, dtype=dtype)
    products = operator.add_to(matrix, like)
    _make_symmetric(matrix, 100 * torch.finfo(sample.dtype).eps ** 0.5)
    return matrix, products


def _make_symmetric(matrix: Tensor, rounding: float) -> None:
    """Replace a matrix by its symmetric part in place, block by block.

    Raises:
        ValueError: what is lost is more than `rounding` of the whole.
        FloatingPointError: an entry is not finite.
    """
    lost, whole = matrix.new_zeros(2, dtype=torch.float64)
    starts = range(0, len(matrix), CHUNK)
    for row, column in ((row, column) for row in starts for column in starts if row <= column):
        upper = matrix[row : row + CHUNK, column : column + CHUNK]
        lower = matrix[column : column + CHUNK, row : row + CHUNK]
        mean = (upper + lower.T) / 2
        lost += (upper - mean).double().square().sum()
        whole += mean.double().square().sum()
        upper.copy_(mean)
        lower.copy_(mean.T)
    if not bool(whole.isfinite()):
        raise FloatingPointError("the operator returned NaN or infinity: the model's outputs or the data overflow")
    if float(lost) > rounding**2 * float(whole):
        raise ValueError("the operator is not symmetric: products of operators that do not commute are not")
