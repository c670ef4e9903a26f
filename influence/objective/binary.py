"""Classification into two classes with a single logit."""

from torch import Tensor

from influence.objective.margin_loss import MarginLoss, log1p_exp


class BinaryCrossEntropy(MarginLoss):
    """-log p of the target, p = sigmoid(output) for target 1: outputs [B, 1] are logits, targets [B] are 0 or 1."""

    values = (0, 1)

    def of_margin(self, margin: Tensor) -> Tensor:
        return log1p_exp(-margin)

    def curvature(self, margin: Tensor) -> Tensor:
        """p (1 - p), to full relative accuracy at any logit."""
        return margin.sigmoid() * (-margin).sigmoid()

    def log_odds(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The margin, [B]."""
        return self.margin(outputs, targets)
