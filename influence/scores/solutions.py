"""The solutions s_q of queries, one layer's share of them, ready to be multiplied by the gradients of any batch.

In half precision what is multiplied has length 1: then no product exceeds 1 (Cauchy and Schwarz), which float16 would
not survive, and the lengths are multiplied back in full precision. Sums inside a product are taken in float32 by the
hardware; sums over layers are left to the caller, who has full precision again.
"""

from typing import Protocol

import torch
from torch import Tensor

from influence.layers import LayerGradients, along


class LayerSolutions(Protocol):
    """S_q of Q queries in one layer."""

    def along(self, layer: LayerGradients) -> Tensor:
        """<c_b, S_q> with the gradients of a batch, read with L = 1, [B, Q]."""
        ...


class MatrixSolutions:
    """S_q as matrices.

    Args:
        matrices: [Q, out, in (+ 1)].
        dtype: of the products; None: that of the matrices.
    """

    def __init__(self, matrices: Tensor, dtype: torch.dtype | None = None) -> None:
        self._dtype = dtype
        self._matrices, self._lengths = _units(matrices, dtype)

    def along(self, layer: LayerGradients) -> Tensor:
        """As `LayerSolutions`."""
        unit, lengths = _unit_layer(layer, self._dtype)
        return along(unit, self._matrices)[0] * lengths.unsqueeze(1) * self._lengths


class OuterSolutions:
    """S_q = sum_r u_qr v_qr^T: <c_b, S_q> = sum_r sum_t (g_bt u_qr) (a_bt v_qr), and no matrix is ever built.

    Args:
        left: u, [Q, R, out].
        right: v, [Q, R, in (+ 1)].
        dtype: of the products; None: that of the vectors.
    """

    def __init__(self, left: Tensor, right: Tensor, dtype: torch.dtype | None = None) -> None:
        self._dtype, self._terms = dtype, left.shape[1]
        units, lengths = _units(right.flatten(0, 1), dtype)
        left, self._lengths = _units(left * lengths.view(*left.shape[:2], 1), dtype)
        # Term after term, so that the sum over terms below is one of long rows.
        self._left = left.transpose(0, 1).flatten(0, 1)
        self._right = units.view(right.shape).transpose(0, 1).flatten(0, 1)

    def along(self, layer: LayerGradients) -> Tensor:
        """As `LayerSolutions`."""
        unit, lengths = _unit_layer(layer, self._dtype)
        batch, positions = unit.activations.shape[:2]
        products = (unit.activations.flatten(0, 1) @ self._right.T).to(lengths.dtype)
        products *= unit.gradients[0].flatten(0, 1) @ self._left.T
        return products.view(batch, positions * self._terms, -1).sum(dim=1) * lengths.unsqueeze(1) * self._lengths


def _unit_layer(layer: LayerGradients, dtype: torch.dtype | None) -> tuple[LayerGradients, Tensor]:
    """Activations and gradients (L = 1) of every example at length 1, and the products of the two lengths, [B]."""
    activations, widths = _units(layer.activations, dtype)
    gradients, heights = _units(layer.gradients[0], dtype)
    return LayerGradients(activations, gradients.unsqueeze(0)), widths * heights


def _units(values: Tensor, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
    """Rows [K, ...] at length 1 in another type, and their lengths [K]; as they are, of length 1, if there is none."""
    if dtype is None:
        return values, values.new_ones(len(values))
    flat = values.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    flat = flat / largest  # first, for the squares of what is very small would vanish
    lengths = torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp_min(1.0)  # less: rows of zeros
    return (flat / lengths).to(dtype).view(values.shape), (largest * lengths).squeeze(1)
