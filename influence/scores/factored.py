"""Pairwise scores through EK-FAC or K-FAC in the eigenbases: no gradient and no solution of a layer used once is built.

There the inverse W = 1 / (Lambda + shift) multiplies entry by entry. With g~ = Q_S^T g and a~ = Q_A^T a, a query's
gradient sum_t g_t a_t^T has the solution S~ = W * sum_t g~_t a~_t^T. If W ~ sum_k u_k v_k^T is of low rank, r terms, so
is the solution,

    S ~ sum_kt (Q_S (u_k * g~_t)) (Q_A (v_k * a~_t))^T,

and an example that uses the layer T times costs r T^2 (out + in) products a query in place of out * in.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from influence.curvature.kronecker import EKFAC, LayerFactors
from influence.layers import GradientBlock, LayerGradients, Readings
from influence.scores.low_rank import weighted_low_rank
from influence.scores.pairwise import products
from influence.scores.solutions import LayerSolutions, MatrixSolutions, OuterSolutions
from influence.vectors import block, concatenate

Terms = tuple[Tensor, Tensor]  # u [r, out] and v [r, in (+ 1)]


class FactoredPairwise:
    """Influence of training examples on queries, as `Pairwise`, with (G + shift * I)^-1 through EK-FAC or K-FAC.

    Args:
        ekfac: the fitted curvature, G.
        shift: damping plus weight decay.
        queries: gradients of the Q queries, read with L = 1, one batch after the other.
        examples: n, the size of the training set.
        rank: r, to approximate the inverse in the layers where that is cheaper; the share of the regularisation and the
            parameters outside the layers stay exact. None: all is exact.
        dtype: in which activations, gradients and solutions are multiplied, such as `torch.bfloat16`; None: their own.

    Attributes:
        approximated: names of the layers whose inverse is of low rank.

    Raises:
        ValueError: the rank is less than 1, or there is no query.
        ZeroDivisionError: G is singular and not shifted.
    """

    def __init__(
        self,
        ekfac: EKFAC,
        shift: float,
        queries: Iterable[Readings],
        examples: int,
        rank: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if rank is not None and rank < 1:
            raise ValueError(f"an inverse of low rank has one term or more, not {rank}")
        self.gradients, self.examples = ekfac.gradients, examples
        pull = ekfac.power(block(self.gradients.problem.regularisation_gradient()), -1.0, shift)
        makers = {name: _Maker(factors, shift, rank) for name, factors in ekfac.layers.items()}
        rest, offsets = [], []
        for readings in queries:
            for name, layer in readings.layers.items():
                makers[name].add(layer)
            rest.append({name: value[0] / (ekfac.rest[name] + shift) for name, value in readings.rest.items()})
            offsets.append(GradientBlock(self.gradients, readings).along(pull)[0, :, 0])
        if not offsets:
            raise ValueError("there is no query")
        self.approximated = [name for name, maker in makers.items() if maker.outer]
        self._layers = {name: maker.solutions(examples, dtype) for name, maker in makers.items()}
        self._rest, self._offset = concatenate(rest), torch.cat(offsets)

    def batch(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Influence of each example of a batch on each query, [Q, B], in nats."""
        return self.from_readings(self.gradients.read(inputs, targets=targets))

    def from_readings(self, readings: Readings) -> Tensor:
        """The same, of gradients already read with L = 1."""
        return (products(self._layers, self._rest, readings) + self._offset).T / self.examples


class _Maker:
    """Takes in the queries' gradients of one layer and makes their solutions, in the cheapest form."""

    def __init__(self, factors: LayerFactors, shift: float, rank: int | None) -> None:
        self.factors, self.rank = factors, rank
        self.inverse = 1.0 / (factors.eigenvalues + shift)
        self.outer: list[tuple[Tensor, Tensor]] = []
        self.matrices: list[Tensor] = []
        self._once = True
        self._terms: Terms | None = None

    def add(self, layer: LayerGradients) -> None:
        if _low_rank_is_cheaper(layer, self.rank):
            self.outer.append(self._outer(layer))
            return
        a, g = self.factors.rotate_activations(layer.activations), self.factors.rotate_gradients(layer.gradients)
        self.matrices.append(self.inverse * LayerGradients(a, g).matrices()[0])
        self._once = layer.activations.shape[1] == 1

    def solutions(self, examples: int, dtype: torch.dtype | None) -> LayerSolutions:
        if self.outer:
            left, right = (torch.cat(side) for side in zip(*self.outer, strict=True))
            return OuterSolutions(left, right, dtype)
        parts, self.matrices = self.matrices, []
        shape = torch.Size([sum(map(len, parts)), *parts[0].shape[1:]])
        if self._once and _examples_are_fewer(examples, shape):
            return _Rotated(self.factors, MatrixSolutions(_joined(parts), dtype))
        for index, part in enumerate(parts):  # one by one, for there may be no room for all of them twice
            parts[index] = self.factors.rotate_back(part)
        return MatrixSolutions(_joined(parts), dtype)

    def _outer(self, layer: LayerGradients) -> tuple[Tensor, Tensor]:
        """Vectors on the left [Q, r T, out] and on the right [Q, r T, in (+ 1)]."""
        if self._terms is None:
            assert self.rank is not None
            self._terms = weighted_low_rank(self.inverse, self.factors.eigenvalues, self.rank)
        u, v = self._terms
        left = self.factors.rotate_gradients(layer.gradients[0]).unsqueeze(1) * u.unsqueeze(1)
        right = self.factors.rotate_activations(layer.activations).unsqueeze(1) * v.unsqueeze(1)
        back = self.factors.rotate_gradients_back, self.factors.rotate_activations_back
        return back[0](left.flatten(1, 2)), back[1](right.flatten(1, 2))


class _Rotated:
    """Solutions in the eigenbases, into which the gradients of examples are rotated."""

    def __init__(self, factors: LayerFactors, solutions: LayerSolutions) -> None:
        self.factors, self.solutions = factors, solutions

    def along(self, layer: LayerGradients) -> Tensor:
        """As `LayerSolutions`."""
        a, g = self.factors.rotate_activations(layer.activations), self.factors.rotate_gradients(layer.gradients)
        return self.solutions.along(LayerGradients(a, g))


def _joined(parts: list[Tensor]) -> Tensor:
    """One after the other; a single part is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _low_rank_is_cheaper(layer: LayerGradients, rank: int | None) -> bool:
    positions, width = layer.activations.shape[1:]
    outputs = layer.gradients.shape[-1]
    return rank is not None and rank * positions**2 * (outputs + width) < outputs * width


def _examples_are_fewer(examples: int, solutions: torch.Size) -> bool:
    """Whether it costs less to rotate the factors of all examples' gradients than the queries' solutions back."""
    queries, outputs, width = solutions
    return examples * (outputs**2 + width**2) < queries * outputs * width * (outputs + width)
