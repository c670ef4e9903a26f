"""Krylov spaces of a symmetric operator, grown a block at a time with full reorthogonalisation."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.curvature.low_rank import LowRank
from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import multiply
from influence.layout import Layout


@dataclass(frozen=True)
class RitzPairs:
    """Approximate eigenpairs of A from a subspace: the best that the subspace holds.

    Attributes:
        values: ascending, [M].
        vectors: in rows, orthonormal, [M, P].
        residuals: ||A v - value v||; within it of each value lies a true eigenvalue, [M].
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor

    def leading(self, rank: int) -> "RitzPairs":
        """The `rank` pairs of largest absolute value, the largest first.

        Raises:
            ValueError: the rank is not positive.
        """
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        order = self.values.abs().argsort(descending=True)[:rank]
        return RitzPairs(self.values[order], self.vectors[order], self.residuals[order])

    def as_operator(self, layout: Layout) -> LowRank:
        """The matrix of low rank with these eigenpairs."""
        return LowRank(self.vectors, self.values, layout)


class KrylovSpace:
    """span{V, A V, A^2 V, ...} from a random block V.

    One vector of the block finds each distinct eigenvalue once; a block of b finds up to b equal ones. Where the space
    closes before it is the whole, it goes on from new random directions.

    Args:
        operator: A, symmetric.
        like: one vector of the space, {name: [*shape]}; gives dtype and device.
        block: vectors multiplied at once.
        seed: of the random directions.

    Attributes:
        products: vectors multiplied by the operator so far.
    """

    def __init__(self, operator: LinearOperator, like: Mapping[str, Tensor], block: int = 1, seed: int = 0) -> None:
        self.operator, self.layout, self.block = operator, Layout.of(like), block
        self.products = 0
        self._like = next(iter(like.values()))
        self._generator = torch.Generator().manual_seed(seed)
        self._basis = self._like.new_empty(0, self.layout.size)
        self._projection = torch.zeros(0, 0, dtype=torch.float64, device=self._like.device)
        self._leaving = self._like.new_empty(0, self.layout.size)
        self._next = self._fresh()

    def __len__(self) -> int:
        """Dimension of the space."""
        return len(self._basis)

    def grow(self, dimension: int) -> None:
        """Enlarge the space to at least this dimension, or to the whole.

        Raises:
            FloatingPointError: a product was not finite.
        """
        while len(self) < min(dimension, self.layout.size):
            images = self.layout.flatten(multiply(self.operator, self.layout.unflatten(self._next)))
            self.products += len(self._next)
            before, self._basis = len(self), torch.cat([self._basis, self._next])
            self._leaving, coefficients = self._orthogonal(images)
            grown = self._projection.new_zeros(len(self), len(self))
            grown[:before, :before] = self._projection
            grown[:, before:], grown[before:] = coefficients.double(), coefficients.T.double()
            self._projection = grown
            size = float(images.norm(dim=1).max())
            # What is left of the images after the projection is a direction only if it is above rounding.
            _, strengths, directions = torch.linalg.svd(self._leaving, full_matrices=False)
            kept = directions[strengths > 1e3 * torch.finfo(images.dtype).eps * size]
            self._next = self._independent(kept) if len(kept) else self._fresh()

    def ritz(self) -> RitzPairs:
        """All approximate eigenpairs that the space holds."""
        values, vectors = torch.linalg.eigh((self._projection + self._projection.T) / 2)
        vectors = vectors.to(self._basis.dtype)
        last = vectors[len(self) - len(self._leaving) :].T
        residuals = (last @ self._leaving).norm(dim=1)
        return RitzPairs(values.to(self._basis.dtype), vectors.T @ self._basis, residuals)

    def _orthogonal(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows less their projection on the basis, and the coefficients of that, [M, rows]; done twice for rounding."""
        coefficients = rows.new_zeros(len(self._basis), len(rows))
        for _ in range(2):
            part = self._basis @ rows.T
            rows = rows - part.T @ self._basis
            coefficients = coefficients + part
        return rows, coefficients

    def _independent(self, rows: Tensor) -> Tensor:
        """Orthonormal rows that span these, orthogonal to the basis; no more than there is room for."""
        rows = rows[: self.layout.size - len(self)]
        for _ in range(2):
            rows = torch.linalg.qr(self._orthogonal(rows)[0].T)[0].T
        return rows

    def _fresh(self) -> Tensor:
        drawn = torch.randn(self.block, self.layout.size, generator=self._generator, dtype=torch.float64)
        return self._independent(drawn.to(self._like))


@dataclass(frozen=True)
class Extremes:
    """The ends of the spectrum as far as a Krylov space sees them.

    Attributes:
        smallest, largest: Ritz values; the spectrum reaches at least this far.
        smallest_error, largest_error: within this of each lies an eigenvalue.
        products: vectors multiplied by the operator.
    """

    smallest: float
    largest: float
    smallest_error: float
    largest_error: float
    products: int


def extreme_eigenvalues(
    operator: LinearOperator, like: Mapping[str, Tensor], steps: int = 20, seed: int = 0
) -> Extremes:
    """The smallest and the largest eigenvalue by `steps` Lanczos steps from a random vector.

    The largest is met within a few steps to a few per cent; the smallest of an ill-conditioned operator is not: it is
    an upper bound.

    Raises:
        FloatingPointError: a product was not finite.
    """
    space = KrylovSpace(operator, like, seed=seed)
    space.grow(steps)
    pairs = space.ritz()
    return Extremes(
        float(pairs.values[0]),
        float(pairs.values[-1]),
        float(pairs.residuals[0]),
        float(pairs.residuals[-1]),
        space.products,
    )
