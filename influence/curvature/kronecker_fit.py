"""Fitting the Kronecker-factored approximations and the diagonal of the Gauss-Newton matrix from per-example gradients.

All take the expectation over examples AND over labels drawn from the model, exact up to `exact_labels` labels and
sampled beyond, and none depends on the batch size beyond rounding.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from influence.curvature.diagonal import Diagonal
from influence.curvature.kronecker import EKFAC, LayerFactors
from influence.layers import LayerGradients, PerExampleGradients, Readings
from influence.layers.rule import from_matrix
from influence.problem import Data

OnBatch = Callable[[int], object]
Bases = tuple[Tensor | None, Tensor | None]
EVERY_LABEL = sys.maxsize


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
        exact_labels: number of labels up to which their expectation is exact.
        widest: a side of a layer with more dimensions than this keeps the identity as its basis.
        on_batch: called with the number of examples after every batch; each example is counted twice.

    Returns:
        The operator, without regularisation and damping.
    """
    moments = {layer.name: _Moments() for layer in gradients.layers}
    for readings in _readings(gradients, data, batch_size, exact_labels, on_batch):
        for name, layer in readings.layers.items():
            moments[name].add(layer, widest)
    bases = {name: (found.activations.basis(), found.gradients.basis()) for name, found in moments.items()}
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
    for readings in _readings(gradients, data, batch_size, exact_labels, on_batch):
        for name, layer in readings.layers.items():
            moments[name].add(layer, widest)
        _accumulate_rest(rest, readings)
    layers = {
        name: LayerFactors(
            found.activations.basis(),
            found.gradients.basis(),
            torch.outer(found.gradients.eigenvalues() / len(data), found.activations.eigenvalues() / found.positions),
        )
        for name, found in moments.items()
    }
    return EKFAC(gradients, layers, {name: value / len(data) for name, value in rest.items()})


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
    """A running sum of x x^T over rows x; of its diagonal alone where x is too wide."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, rows: Tensor, widest: int) -> None:
        value = rows.T @ rows if rows.shape[1] <= widest else rows.square().sum(dim=0)
        self.total = value if self.total is None else self.total + value

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

    def add(self, layer: LayerGradients, widest: int) -> None:
        activations = layer.activations.flatten(0, 1)
        self.activations.add(activations, widest)
        self.gradients.add(layer.gradients.flatten(0, 2), widest)
        self.positions += len(activations)


def _readings(
    gradients: PerExampleGradients, data: Data, batch_size: int, exact_labels: int, on_batch: OnBatch
) -> Iterator[Readings]:
    for inputs, _ in data.batches(batch_size, gradients.problem.device):
        yield gradients.read(inputs, limit=exact_labels)
        on_batch(len(inputs))


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
    for readings in _readings(gradients, data, batch_size, exact_labels, on_batch):
        for name, layer in readings.layers.items():
            activation_basis, gradient_basis = bases[name]
            a = layer.activations if activation_basis is None else layer.activations @ activation_basis
            g = layer.gradients if gradient_basis is None else layer.gradients @ gradient_basis
            _accumulate(layers, name, _sum_of_squares(a, g) / len(data))
        _accumulate_rest(rest, readings)
    return layers, {name: value / len(data) for name, value in rest.items()}


def _sum_of_squares(activations: Tensor, gradients: Tensor) -> Tensor:
    """sum over labels and examples of (sum_t g_t a_t^T)^2, [out, in], from a [B, T, in] and g [L, B, T, out]."""
    if activations.shape[1] == 1:  # an outer product: its square is the outer product of the squares
        return gradients[:, :, 0].square().sum(dim=0).T @ activations[:, 0].square()
    total = gradients.new_zeros(gradients.shape[-1], activations.shape[-1])
    for label in gradients:
        total += torch.einsum("bto,bti->boi", label, activations).square_().sum(dim=0)
    return total


def _accumulate_rest(rest: dict[str, Tensor], readings: Readings) -> None:
    for name, gradient in readings.rest.items():
        _accumulate(rest, name, gradient.square().sum(dim=(0, 1)))


def _accumulate(totals: dict[str, Tensor], key: str, value: Tensor) -> None:
    totals[key] = totals[key] + value if key in totals else value
