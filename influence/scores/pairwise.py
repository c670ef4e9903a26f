"""Influence of every training example of a batch on every query, from the queries' inverse-Hessian-vector products."""

from typing import Protocol

import torch
from torch import Tensor

from influence.layers import PerExampleGradients, Readings
from influence.layers.rule import to_matrix
from influence.scores.solutions import LayerSolutions, MatrixSolutions
from influence.vectors import Vectors, block, cross_dot, rows


class Scores(Protocol):
    """Influence of training examples on queries.

    Attributes:
        gradients: reads per-example gradients of the problem.
        examples: n, the size of the training set.
    """

    gradients: PerExampleGradients
    examples: int

    def batch(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Influence of each example of a batch on each query, [Q, B], in nats."""
        ...

    def from_readings(self, readings: Readings) -> Tensor:
        """The same, of gradients already read with L = 1."""
        ...


class Pairwise:
    """Predicted rise of each query's loss if a training example were left out of training, in nats.

    With s_q = (G + damping * I)^-1 g_q this is s_q^T g_z / n, g_z the gradient of z's share of the objective, its
    regularisation included (Koh & Liang 2017, equation 2, divided by -n). Positive: helpful; negative: harmful.

    Args:
        gradients: reads per-example gradients of the problem.
        solutions: s_q of every query, {name: [Q, *shape]}.
        examples: n, the size of the training set.
        dtype: in which activations, gradients and solutions are multiplied, such as `torch.bfloat16`; None: their own.
    """

    def __init__(
        self, gradients: PerExampleGradients, solutions: Vectors, examples: int, dtype: torch.dtype | None = None
    ) -> None:
        self.gradients, self.examples = gradients, examples
        self._layers: dict[str, LayerSolutions] = {
            layer.name: MatrixSolutions(
                to_matrix(solutions[layer.weight], solutions[layer.bias] if layer.bias else None), dtype
            )
            for layer in gradients.layers
        }
        self._rest = {name: solutions[name] for name in gradients.rest}
        self._offset = cross_dot(solutions, block(gradients.problem.regularisation_gradient()))[:, 0]

    def batch(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Influence of each example of a batch on each query, [Q, B], in nats."""
        return self.from_readings(self.gradients.read(inputs, targets=targets))

    def from_readings(self, readings: Readings) -> Tensor:
        """The same, of gradients already read with L = 1."""
        return (products(self._layers, self._rest, readings) + self._offset).T / self.examples


def products(layers: dict[str, LayerSolutions], rest: Vectors, readings: Readings) -> Tensor:
    """<m_b, s_q> of gradients read with L = 1, [B, Q], from the solutions layer by layer and those of the rest."""
    parts = [layers[name].along(layer) for name, layer in readings.layers.items()]
    parts += [rows(value[0]) @ rows(rest[name]).T for name, value in readings.rest.items()]
    return torch.stack(parts).sum(dim=0)
