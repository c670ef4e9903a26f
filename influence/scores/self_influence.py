"""Self-influence: how much the model bends for an example, from EK-FAC, without building a gradient where it can."""

from torch import Tensor

from influence.curvature.kronecker import EKFAC
from influence.layers import GradientBlock, Readings
from influence.scores.quadratic_form import quadratic_form
from influence.vectors import Vectors, block


class SelfInfluence:
    """Predicted rise of an example's own loss if it were left out of training, in nats.

    With m_z the gradient of its loss and g_z = m_z + d regularisation / d theta the gradient of its share of the
    objective, this is m_z^T (G + shift * I)^-1 g_z / n (Koh & Liang 2017, equation 2, with test point = z, divided by
    -n), G being EK-FAC.

    Args:
        ekfac: the fitted curvature.
        shift: damping plus weight decay.
        examples: n, the size of the training set.
    """

    def __init__(self, ekfac: EKFAC, shift: float, examples: int) -> None:
        self.ekfac, self.shift, self.examples = ekfac, shift, examples
        self.gradients = ekfac.gradients
        regularisation = block(self.gradients.problem.regularisation_gradient())
        self._pull: Vectors = ekfac.power(regularisation, -1.0, shift)

    def batch(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Self-influence of each example of a batch, [B], in nats."""
        readings = self.gradients.read(inputs, targets=targets)
        return self.from_readings(readings)

    def from_readings(self, readings: Readings) -> Tensor:
        """The same, of gradients already read with L = 1."""
        total = GradientBlock(self.gradients, readings).along(self._pull)[0, :, 0]
        total = total + quadratic_form(self.ekfac, readings, lambda eigenvalues: 1.0 / (eigenvalues + self.shift))
        return total / self.examples
