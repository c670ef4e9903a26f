"""The hinge of support vector machines, and its smooth stand-in."""

import torch
import torch.nn.functional as F
from torch import Tensor

from influence.objective.margin_loss import MarginLoss, log1p_exp


class Hinge(MarginLoss):
    """max(0, 1 - y f): outputs f are [B, 1], targets y [B] are -1 or +1.

    Its second derivative is zero wherever it has one, so that the curvature is the regularisation's alone. Influence
    on such a model is better computed with the derivatives of `SmoothHinge` (Koh & Liang 2017, section 4.2).
    """

    values = (-1, 1)

    def of_margin(self, margin: Tensor) -> Tensor:
        return F.relu(1 - margin)

    def curvature(self, margin: Tensor) -> Tensor:
        return torch.zeros_like(margin)


class SmoothHinge(MarginLoss):
    """t log(1 + exp((1 - y f) / t)): outputs f are [B, 1], targets y [B] are -1 or +1.

    As t falls to 0 this becomes the hinge (Koh & Liang 2017, section 4.2).

    Args:
        temperature: t, positive.
        weight_decay: as of every `Objective`.
        decay_biases: likewise.

    Raises:
        ValueError: the temperature is not positive.
    """

    values = (-1, 1)

    def __init__(self, temperature: float = 0.001, weight_decay: float = 0.0, decay_biases: bool = False) -> None:
        super().__init__(weight_decay, decay_biases)
        if not temperature > 0:
            raise ValueError(f"the temperature of SmoothHinge must be positive, got {temperature}: 0 is Hinge")
        self.temperature = temperature

    def of_margin(self, margin: Tensor) -> Tensor:
        return self.temperature * log1p_exp((1 - margin) / self.temperature)

    def curvature(self, margin: Tensor) -> Tensor:
        """sigma (1 - sigma) / t with sigma = sigmoid((1 - s) / t)."""
        scaled = (1 - margin) / self.temperature
        return scaled.sigmoid() * (-scaled).sigmoid() / self.temperature
