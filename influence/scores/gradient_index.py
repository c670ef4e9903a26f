"""A gradient index: of every example's gradient a few coordinates, in which influence is a product of two rows.

In the eigenbasis of EK-FAC, with Lambda its eigenvalues and c_z the gradient of z's loss, let

    x_z = (Lambda + shift)^(-1/2) * (Q^T c_z).

Then z's influence on a query q is (x_q . x_z + r^T (G + shift)^-1 c_q) / n, r the gradient of the regularisation: as
`FactoredPairwise` has it, where all coordinates are kept. An index keeps the leading ones, those of the largest
eigenvalues, along which gradients are expected to be long. The curvature alone chooses them, so that the row of an
example depends on no other example.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from influence.curvature.kronecker import EKFAC, LayerFactors
from influence.layers import GradientBlock, LayerGradients, Readings
from influence.vectors import block, rows

TYPES = (torch.int8, torch.float16, torch.float32, torch.float64)


class LeadingCoordinates:
    """Reads the leading coordinates x of gradients.

    Args:
        ekfac: the fitted curvature, G.
        shift: damping plus weight decay.
        size: how many coordinates are kept; all, where there are no more.

    Raises:
        ValueError: the size is less than 1.
        ZeroDivisionError: G is singular and not shifted.

    Attributes:
        size: how many are kept, K.
        share: sum over the kept ones of Lambda / (Lambda + shift), of that over all: the expected share of |x|^2.
    """

    def __init__(self, ekfac: EKFAC, shift: float, size: int) -> None:
        if size < 1:
            raise ValueError(f"an index keeps one coordinate or more, not {size}")
        self.gradients = ekfac.gradients
        self._pull = ekfac.power(block(self.gradients.problem.regularisation_gradient()), -1.0, shift)
        parts = {name: factors.eigenvalues for name, factors in ekfac.layers.items()} | ekfac.rest
        values = torch.cat([part.reshape(-1) for part in parts.values()])
        # Stable: equal eigenvalues are kept in their order, the same whatever the machine.
        kept = values.argsort(descending=True, stable=True)[:size].sort().values
        lengths = values / (values + shift)
        self.size, self.share = len(kept), float(lengths[kept].double().sum() / lengths.double().sum())
        self._layers: dict[str, _LayerCoordinates] = {}
        self._rest: dict[str, tuple[Tensor, Tensor]] = {}
        start = 0
        for name, part in parts.items():
            own = kept[(kept >= start) & (kept < start + part.numel())] - start
            weights = (part.reshape(-1)[own] + shift) ** -0.5
            start += part.numel()
            if name in ekfac.layers:
                self._layers[name] = _LayerCoordinates(ekfac.layers[name], own, weights)
            else:
                self._rest[name] = own, weights

    def of(self, readings: Readings) -> Tensor:
        """x of gradients read with L = 1, [B, K]."""
        parts = [self._layers[name].of(layer) for name, layer in readings.layers.items()]
        parts += [rows(value[0])[:, self._rest[name][0]] * self._rest[name][1] for name, value in readings.rest.items()]
        return torch.cat(parts, dim=1)

    def offset(self, readings: Readings) -> Tensor:
        """r^T (G + shift)^-1 c of gradients read with L = 1, [B]: what regularisation adds to a query's scores."""
        return GradientBlock(self.gradients, readings).along(self._pull)[0, :, 0]


class _LayerCoordinates:
    """Of a layer's gradients in its eigenbases: entries of a matrix [out, in (+ 1)].

    Args:
        factors: the layer's.
        entries: their positions in the flat matrix, ascending, [K].
        weights: what they are multiplied by, [K].
    """

    def __init__(self, factors: LayerFactors, entries: Tensor, weights: Tensor) -> None:
        width = factors.eigenvalues.shape[1]
        self.factors, self.weights = factors, weights
        # Only rows and columns that hold an entry are ever built.
        self._rows, self._row = (entries // width).unique(return_inverse=True)
        self._columns, self._column = (entries % width).unique(return_inverse=True)

    def of(self, layer: LayerGradients) -> Tensor:
        g = _columns(layer.gradients[0], self.factors.gradient_basis, self._rows)
        a = _columns(layer.activations, self.factors.activation_basis, self._columns)
        if a.shape[1] == 1:  # one outer product an example: its entries are products of two numbers
            return g[:, 0, self._row] * a[:, 0, self._column] * self.weights
        return LayerGradients(a, g.unsqueeze(0)).matrices()[0][:, self._row, self._column] * self.weights


def _columns(vectors: Tensor, basis: Tensor | None, chosen: Tensor) -> Tensor:
    """Some coordinates of vectors [B, T, D] in a basis [D, D]."""
    return vectors[..., chosen] if basis is None else vectors @ basis[:, chosen]


@dataclass(frozen=True)
class Compressed:
    """Rows in few bytes: values * scales.

    Attributes:
        values: [B, K], the largest of each row being 1, or 127 for int8.
        scales: [B].
    """

    values: Tensor
    scales: Tensor

    @classmethod
    def of(cls, coordinates: Tensor, dtype: torch.dtype) -> "Compressed":
        """Coordinates [B, K] rounded to a type.

        Raises:
            ValueError: the type is none of `TYPES`.
        """
        if dtype not in TYPES:
            raise ValueError(f"an index holds one of {', '.join(map(str, TYPES))}, not {dtype}")
        scales = coordinates.abs().amax(dim=1).clamp_min(torch.finfo(coordinates.dtype).tiny)
        if dtype is torch.int8:
            scales = scales / 127
            return cls((coordinates / scales.unsqueeze(1)).round().clamp(-127, 127).to(dtype), scales)
        return cls((coordinates / scales.unsqueeze(1)).to(dtype), scales)

    def scores(self, queries: Tensor, offsets: Tensor, examples: int) -> Tensor:
        """Influence of these rows' examples on queries, [Q, B], in nats.

        Args:
            queries: their coordinates, [Q, K].
            offsets: see `LeadingCoordinates.offset`, [Q].
            examples: n, the size of the training set.
        """
        products = (self.values.to(queries.dtype) @ queries.T) * self.scales.to(queries.dtype).unsqueeze(1)
        return (products + offsets).T / examples


def recall(found: Tensor, exact: Tensor) -> Tensor:
    """Share of the exact top examples of each query that are among those found, [Q].

    Args:
        found: indices, [Q, k]; -1 is none.
        exact: the same. A query without any has recall 1.
    """
    there = exact >= 0
    hits = ((exact.unsqueeze(2) == found.unsqueeze(1)).any(dim=2) & there).sum(dim=1)
    return torch.where(there.any(dim=1), hits / there.sum(dim=1).clamp_min(1), 1.0)
