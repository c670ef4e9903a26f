"""Fitting the Kronecker-factored approximations and the diagonal of the Gauss-Newton matrix from per-example gradients.

All take the expectation over examples AND over labels drawn from the model (for any objective, the sum over columns of
the output Hessian's root), exact up to `exact_labels` labels and sampled beyond. Where it is exact, none depends on the
batch size beyond rounding. Columns are read one by one, so that their number costs time and no memory.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from influence.curvature.diagonal import Diagonal
from influence.curvature.kronecker import EKFAC, LayerFactors
from influence.layers import PerExampleGradients, Readings
from influence.layers.rule import from_matrix
from influence.problem import Data

OnBatch = Callable[[int], object]
Bases = tuple[Tensor | None, Tensor | None]
EVERY_LABEL = sys.maxsize
ENTRIES = 2**22  # of per-example gradients built at once, where a layer is used several times


def fit_ekfac(
    gradients: PerExampleGradients,
    data: Data,
    batch_size: int = 256,
    exact_labels: int = 32,
    widest: int = 4096,
    on_batch: OnBatch = lambda examples: None,
) -> EKFAC:
    """Fit EK-FAC in two passes over the data: the bases, then the eigenvalues in them.

    Args:
        gradients: reads the per-example gradients of the problem.
        data: the examples.
        batch_size: examples at once.
        exact_labels: number of labels (outputs) up to which their expectation is exact.
        widest: a side of a layer with more dimensions than this keeps the identity as its basis.
        on_batch: called with the number of examples after every batch; each example is counted twice.

    Returns:
        The operator, without regularisation and damping.
    """
    bases = _fit_bases(gradients, data, batch_size, exact_labels, widest, on_batch)
    eigenvalues, rest = _fit_diagonal(gradients, data, bases, batch_size, exact_labels, on_batch)
    return EKFAC(gradients, {name: LayerFactors(*bases[name], eigenvalues[name]) for name in bases}, rest)


def fit_kfac(
    gradients: PerExampleGradients,
    data: Data,
    batch_size: int = 256,
    exact_labels: int = 32,
    widest: int = 4096,
    on_batch: OnBatch = lambda examples: None,
) -> EKFAC:
    """Fit K-FAC in one pass over the data: EK-FAC's bases, with products of the factors' eigenvalues.

    With n examples and, over all of them, m positions t at which the layer is used (m = n for a layer used once),

        A = 1/m sum_it a_it a_it^T,    S = 1/n sum_it E_label[g_it g_it^T],    G ~ S x A,

    so Lambda is the outer product of the eigenvalues of S and A. This is what remains of E[(sum_t g_t a_t^T)^2] when
    activations are independent of gradients and gradients at different positions are uncorrelated (Grosse & Martens
    2016, "expand" in Eschenhagen et al. 2023). Of a side wider than `widest` only the diagonal of its factor is used.

    Args: as for `fit_ekfac`; each example is counted once by `on_batch`.

    Returns:
        The operator, without regularisation and damping, of the same class as EK-FAC.
    """
    moments = {layer.name: _Moments() for layer in gradients.layers}
    rest: dict[str, Tensor] = {}
    for columns in _batches(gradients, data, batch_size, exact_labels, on_batch):
        for readings in columns:
            _add_moments(moments, readings, widest)
            _add_rest(rest, readings)
    layers = {
        name: LayerFactors(
            found.activations.basis(),
            found.gradients.basis(),
            torch.outer(found.gradients.eigenvalues() / len(data), found.activations.eigenvalues() / found.positions),
        )
        for name, found in moments.items()
    }
    return EKFAC(gradients, layers, _divided(rest, len(data)))


def fit_diagonal(
    gradients: PerExampleGradients,
    data: Data,
    batch_size: int = 256,
    exact_labels: int = EVERY_LABEL,
    on_batch: OnBatch = lambda examples: None,
) -> Diagonal:
    """Fit the diagonal of the Gauss-Newton matrix in one pass over the data.

    Args: as for `fit_ekfac`; by default the expectation is exact over however many labels.

    Returns:
        The operator, without regularisation and damping.
    """
    own: dict[str, Bases] = {layer.name: (None, None) for layer in gradients.layers}
    matrices, values = _fit_diagonal(gradients, data, own, batch_size, exact_labels, on_batch)
    parameters = gradients.problem.parameters
    for layer in gradients.layers:
        matrix = matrices[layer.name].unsqueeze(0)
        weight, bias = from_matrix(matrix, parameters[layer.weight].shape, layer.bias is not None)
        values[layer.weight] = weight[0]
        if layer.bias is not None and bias is not None:
            values[layer.bias] = bias[0]
    return Diagonal({name: values[name] for name in parameters})


class _Moment:
    """A running sum of x x^T over vectors x; of its diagonal alone where x is too wide."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, vectors: Tensor, widest: int) -> None:
        """Take in vectors [B, T, width]."""
        width = vectors.shape[-1]
        columns = vectors.permute(2, 0, 1).reshape(width, -1)  # of a convolution's gradients the cheapest copy
        if self.total is None:
            self.total = vectors.new_zeros((width, width) if width <= widest else (width,))
        if width <= widest:
            self.total.addmm_(columns, columns.T)
        else:
            self.total += columns.square().sum(dim=1)

    def basis(self) -> Tensor | None:
        """Eigenvectors in columns; None for the identity."""
        total = self._filled()
        return None if total.dim() == 1 else self._eigen[1].to(total.dtype).contiguous()

    def eigenvalues(self) -> Tensor:
        total = self._filled()
        return total if total.dim() == 1 else self._eigen[0].clamp_min(0).to(total.dtype)

    @cached_property
    def _eigen(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self._filled().double())
        return values, vectors

    def _filled(self) -> Tensor:
        if self.total is None:
            raise ValueError("Kronecker factors need at least one example")
        return self.total


class _Moments:
    """Second moments of one layer's activations and gradients, and the positions counted."""

    def __init__(self) -> None:
        self.activations, self.gradients, self.positions = _Moment(), _Moment(), 0
        self._seen: Tensor | None = None

    def add(self, activations: Tensor, gradients: Tensor, widest: int) -> None:
        """Take in gradients [B, T, out] and activations [B, T, in (+ 1)], these once for all columns of a batch."""
        self.gradients.add(gradients, widest)
        if activations is not self._seen:
            self._seen = activations
            self.activations.add(activations, widest)
            self.positions += activations.shape[:2].numel()


def _batches(
    gradients: PerExampleGradients, data: Data, batch_size: int, exact_labels: int, on_batch: OnBatch
) -> Iterator[Iterator[Readings]]:
    """Of every batch its columns, one by one."""
    seen = 0
    for inputs, targets in data.batches(batch_size, gradients.problem.device):
        # The draws of one batch are not those of the next, and the same in every pass.
        yield gradients.each_column(inputs, targets, limit=exact_labels, seed=seen)
        seen += len(inputs)
        on_batch(len(inputs))


def _add_moments(moments: dict[str, _Moments], readings: Readings, widest: int) -> None:
    for name, layer in readings.layers.items():
        moments[name].add(layer.activations, layer.gradients[0], widest)


def _fit_bases(
    gradients: PerExampleGradients, data: Data, batch_size: int, exact_labels: int, widest: int, on_batch: OnBatch
) -> dict[str, Bases]:
    moments = {layer.name: _Moments() for layer in gradients.layers}
    for columns in _batches(gradients, data, batch_size, exact_labels, on_batch):
        for readings in columns:
            _add_moments(moments, readings, widest)
    return {name: (found.activations.basis(), found.gradients.basis()) for name, found in moments.items()}


def _fit_diagonal(
    gradients: PerExampleGradients,
    data: Data,
    bases: dict[str, Bases],
    batch_size: int,
    exact_labels: int,
    on_batch: OnBatch,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The diagonal of G in the coordinates of these bases, layer by layer [out, in (+ 1)]; and that of the rest."""
    layers: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for columns in _batches(gradients, data, batch_size, exact_labels, on_batch):
        _add_squares(layers, rest, columns, bases)
    return _divided(layers, len(data)), _divided(rest, len(data))


def _add_squares(
    layers: dict[str, Tensor], rest: dict[str, Tensor], columns: Iterator[Readings], bases: dict[str, Bases]
) -> None:
    """Add the squares of one batch's gradients, in the coordinates of these bases, summed over columns and examples."""
    activations: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}  # of the gradients of layers used once, summed over columns, [B, out]
    for readings in columns:
        for name, layer in readings.layers.items():
            activation_basis, gradient_basis = bases[name]
            if name not in activations:
                activations[name] = _rotated(layer.activations, activation_basis)
            if layer.activations.shape[1] == 1:
                _add(squares, name, _rotated(layer.gradients[0, :, 0], gradient_basis).square())
            else:
                _add(layers, name, _squares_of_sums(activations[name], layer.gradients[0], gradient_basis))
        _add_rest(rest, readings)
    for name, square in squares.items():  # the square of an outer product is the outer product of the squares
        _add(layers, name, square.T @ activations[name][:, 0].square())


def _squares_of_sums(activations: Tensor, gradients: Tensor, basis: Tensor | None) -> Tensor:
    """sum_b (Q^T sum_t g_bt a_bt^T)^2, [out, in], from a [B, T, in], g [B, T, out] and the basis Q of g."""
    positions, width = activations.shape[1:]
    outputs = gradients.shape[-1]
    total = gradients.new_zeros(outputs, width)
    step = max(1, ENTRIES // (outputs * width))
    for a, g in zip(activations.split(step), gradients.split(step), strict=True):
        # Rotated where that takes fewer operations, which does not change the sums.
        sums = _rotated(g, basis).mT @ a if positions < width else _rotated((g.mT @ a).mT, basis).mT
        total += sums.square_().sum(dim=0)
    return total


def _rotated(vectors: Tensor, basis: Tensor | None) -> Tensor:
    return vectors if basis is None else vectors @ basis


def _divided(totals: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    return {name: value / number for name, value in totals.items()}


def _add_rest(rest: dict[str, Tensor], readings: Readings) -> None:
    for name, gradient in readings.rest.items():
        _add(rest, name, gradient.square().sum(dim=(0, 1)))


def _add(totals: dict[str, Tensor], key: str, value: Tensor) -> None:
    if key in totals:
        totals[key] += value
    else:
        totals[key] = value
