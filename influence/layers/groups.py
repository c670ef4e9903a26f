"""Outer products of grouped layers as outer products of ordinary ones, exactly.

In a layer of G groups the rows of the gradient that belong to group j are sum_t g_jt a_jt^T. Stack the activations of
all groups and positions into P = [a_jt], [G * T, in]; with every g padded by zeros to all the outputs, [G * T, out],
the whole gradient is M = g^T P: a layer with G * T positions, most of whose gradients are zeros. Where that is more
than `in` positions, M = (M R^-1) R has only `in` of them, the rows of R, for any R. The Cholesky factor R^T R = P^T P
leaves the second moment of the activations what it is: that of the patches of all groups.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def merge_groups(activations: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Activations [B, G, T, in] as [B, T', in], and what brings gradients [L, B, T, out] to the same positions.

    The sums over positions of gradient times activation are the same; T' = min(G * T, in), or T where G = 1.
    """
    groups, positions, width = activations.shape[1:]
    if groups == 1:
        return activations[:, 0], lambda gradients: gradients
    stacked = activations.flatten(1, 2)
    if groups * positions <= width:
        return stacked, lambda gradients: _padded(gradients, groups)
    # There is no decomposition in half precision, and R^-1 would magnify its rounding.
    precise = torch.promote_types(activations.dtype, torch.float32)
    root = _root(stacked.to(precise))

    def moved(gradients: Tensor) -> Tensor:
        grouped = gradients.unflatten(-1, (groups, -1)).to(precise)
        matrices = torch.einsum("lbtgo,bgti->lbgoi", grouped, activations.to(precise)).flatten(2, 3)
        solved = torch.linalg.solve_triangular(root, matrices, upper=True, left=False)
        return solved.transpose(2, 3).to(gradients.dtype)

    return root.to(activations.dtype), moved


def _padded(gradients: Tensor, groups: int) -> Tensor:
    """Gradients [L, B, T, out] with zeros for the outputs of all other groups, [L, B, G * T, out]."""
    identity = torch.eye(groups, dtype=gradients.dtype, device=gradients.device)
    padded = torch.einsum("lbtgo,gh->lbgtho", gradients.unflatten(-1, (groups, -1)), identity)
    return padded.flatten(4).flatten(2, 3)


def _root(rows: Tensor) -> Tensor:
    """Upper triangular R [B, in, in] with R^T R = P^T P to rounding, invertible even where P [B, ., in] has less rank.

    What R^T R has beyond P^T P is of the size of its own rounding, and never touches M, whatever R is.
    """
    moment = rows.transpose(1, 2) @ rows
    diagonal = moment.diagonal(dim1=1, dim2=2)
    accuracy = torch.finfo(rows.dtype)
    rounding = 4 * rows.shape[-1] * accuracy.eps * diagonal.amax(dim=1, keepdim=True) + accuracy.tiny**0.5
    return torch.linalg.cholesky(moment + torch.diag_embed(rounding.expand_as(diagonal)), upper=True)
