"""Random symmetric matrices with a given spectrum, as operators on named parameters."""

from collections.abc import Sequence

import torch
from torch import Tensor

from influence.curvature import Dense, LinearOperator
from influence.layout import Layout
from influence.vectors import Vectors, count


def layout(size: int) -> Layout:
    """`size` numbers as a matrix of two rows and the rest as a vector, size >= 3."""
    half = (size - 1) // 2
    return Layout({"weight": torch.Size([2, half]), "bias": torch.Size([size - 2 * half])})


def symmetric(eigenvalues: Sequence[float] | Tensor, seed: int = 0) -> Tensor:
    """A float64 matrix with these eigenvalues, in a random basis."""
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))[0]
    return basis @ values.diag() @ basis.T


def positive_definite(size: int, condition: float, seed: int) -> Tensor:
    """Eigenvalues spread evenly in logarithm from 1 to `condition`."""
    return symmetric(torch.logspace(0, torch.tensor(condition).log10().item(), size, dtype=torch.float64), seed)


def operator(matrix: Tensor) -> Dense:
    return Dense(matrix, layout(len(matrix)))


def block(columns: int, size: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(columns, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class Counted(LinearOperator):
    """Another operator, with the vectors that it multiplied counted."""

    def __init__(self, inner: LinearOperator) -> None:
        self.inner, self.products = inner, 0

    def multiply(self, vectors: Vectors) -> Vectors:
        self.products += count(vectors)
        return self.inner @ vectors
