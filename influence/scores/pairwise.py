"""Influence of every training example of a batch on every query, from the queries' inverse-Hessian-vector products."""

from torch import Tensor

from influence.layers import GradientBlock, PerExampleGradients, Readings
from influence.vectors import Vectors, block, cross_dot


class Pairwise:
    """Predicted rise of each query's loss if a training example were left out of training, in nats.

    With s_q = (G + damping * I)^-1 g_q this is s_q^T g_z / n, g_z the gradient of z's share of the objective, its
    regularisation included (Koh & Liang 2017, equation 2, divided by -n). Positive: helpful; negative: harmful.

    Args:
        gradients: reads per-example gradients of the problem.
        solutions: s_q of every query, {name: [Q, *shape]}.
        examples: n, the size of the training set.
    """

    def __init__(self, gradients: PerExampleGradients, solutions: Vectors, examples: int) -> None:
        self.gradients, self.solutions, self.examples = gradients, solutions, examples
        regularisation = block(gradients.problem.regularisation_gradient())
        self._offset = cross_dot(solutions, regularisation)[:, 0]

    def batch(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Influence of each example of a batch on each query, [Q, B], in nats."""
        return self.from_readings(self.gradients.read(inputs, targets=targets))

    def from_readings(self, readings: Readings) -> Tensor:
        """The same, of gradients already read with L = 1."""
        along = GradientBlock(self.gradients, readings).along(self.solutions)[0]
        return (along + self._offset).T / self.examples
