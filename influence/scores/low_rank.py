"""The inverse of EK-FAC's eigenvalues as a matrix of low rank, and how far scores through it are from exact ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1e-6  # of the largest expected square: what is less is weighted as if it were that


@dataclass(frozen=True)
class LowRankError:
    """How far low-rank scores are from exact ones on a sample of queries and training examples.

    Attributes:
        rank: terms of the inverse of every layer.
        examples: of the training set that were looked at.
        pearson: correlation over these examples, for each query of the sample, [Q].
        relative: norm of the difference over the norm of the exact scores, for each of these queries, [Q].
    """

    rank: int
    examples: int
    pearson: Tensor
    relative: Tensor


def low_rank_error(found: Tensor, exact: Tensor, rank: int) -> LowRankError:
    """The error of scores [Q, B] found at this rank, measured against exact ones of the same queries and examples."""
    found, exact = found.double().cpu(), exact.double().cpu()
    centred, true = (scores - scores.mean(dim=1, keepdim=True) for scores in (found, exact))
    pearson = torch.cosine_similarity(centred, true, dim=1)
    relative = (found - exact).norm(dim=1) / exact.norm(dim=1)
    return LowRankError(rank, exact.shape[1], pearson, relative)


def weighted_low_rank(matrix: Tensor, squares: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """u [r, out] and v [r, in] with sum_k u_k v_k^T near a matrix [out, in], r = min(rank, out, in).

    Least squares, entry (o, i) weighted by p_o q_i, the means of row o and column i of the expected squares of the
    gradients: a pair's score adds up to its error the entry's error times the gradients of both, each of about that
    square. The best approximation of a matrix so weighted is its truncated singular value decomposition (Eckart &
    Young 1936). In float64 inside.

    Args:
        matrix: what is approximated.
        squares: expected squares of the gradients in the same coordinates, [out, in].
        rank: terms at most.
    """
    p, q = (_weights(squares.double().mean(dim=dim)) for dim in (1, 0))
    left, values, right = torch.linalg.svd(p.unsqueeze(1) * matrix.double() * q, full_matrices=False)
    roots = values[:rank].sqrt().unsqueeze(1)
    u, v = left.T[:rank] * roots / p, right[:rank] * roots / q
    return u.to(matrix.dtype), v.to(matrix.dtype)


def _weights(means: Tensor) -> Tensor:
    """Positive weights; none so small that rounding of the decomposition is blown up where it is divided by."""
    largest = float(means.max())
    return means.clamp_min(SMALLEST * largest) if largest > 0 else torch.ones_like(means)
