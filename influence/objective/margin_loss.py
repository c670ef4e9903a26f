"""Binary losses that depend on the margin s = y f alone, y = -1 or +1 and f the model's only output."""

from abc import abstractmethod

import torch.nn.functional as F
from torch import Tensor

from influence.objective.base import Objective


class MarginLoss(Objective):
    """phi(y f): outputs f are [B, 1] (or [B]); targets [B] (or [B, 1]), of any dtype, stand for y.

    A subclass says phi, its second derivative, and the two values of the targets.

    Attributes:
        values: the target of y = -1 and the target of y = +1.
    """

    values: tuple[int, int]

    @abstractmethod
    def of_margin(self, margin: Tensor) -> Tensor:
        """phi(s), element by element."""

    @abstractmethod
    def curvature(self, margin: Tensor) -> Tensor:
        """phi''(s), element by element; not negative."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.of_margin(self.margin(outputs, targets))

    def output_hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """phi''(s) v, since y^2 = 1."""
        return self.curvature(self.margin(outputs, targets)).unsqueeze(-1) * vectors

    def root_columns(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """sqrt(phi''(s)), [1, B, 1]."""
        return self.curvature(self.margin(outputs, targets)).sqrt().view(1, -1, 1)

    def margin(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """s = y f, [B].

        Raises:
            ValueError: there is more than one output or target an example, or a target is of neither value.
        """
        examples = outputs.shape[:1]
        if examples.numel() != outputs.numel() or targets.numel() != outputs.numel():
            raise ValueError(
                f"{type(self).__name__} takes one output and one target an example: outputs [B, 1] and targets [B], "
                f"not {list(outputs.shape)} and {list(targets.shape)}"
            )
        self.check_targets(targets, outputs.shape[-1])
        low, high = self.values
        signs = 2 * (targets.reshape(examples).to(outputs.dtype) - low) / (high - low) - 1
        return signs * outputs.reshape(examples)

    def check_targets(self, targets: Tensor, outputs: int) -> None:
        """Refuse all but the two values.

        Raises:
            ValueError: a target is of neither value.
        """
        low, high = self.values
        try:
            wrong = targets[(targets != low) & (targets != high)][:1].tolist()
        except RuntimeError:  # inside vmap values cannot be looked at
            return
        if wrong:
            raise ValueError(f"targets of {type(self).__name__} are {low} or {high}, not {wrong[0]}")


def log1p_exp(values: Tensor) -> Tensor:
    """log(1 + exp(x)), element by element, with two derivatives that are finite at any x."""
    return F.softplus(values, threshold=40)  # beyond it exp(-x) is less than the rounding of x
