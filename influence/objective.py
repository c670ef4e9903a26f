"""What a model is trained on, as pure functions: loss of outputs, regularisation of parameters, measurement of outputs.

The objective whose minimum the model is taken to be is

    J(theta) = 1/n * sum_i loss(f(theta, x_i), y_i) + regularisation(theta).

Splitting outputs from loss is what makes the Gauss-Newton matrix possible.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Parameters = Mapping[str, Tensor]


class Objective(ABC):
    """A loss on outputs plus (weight_decay / 2) * ||theta||^2 over the weights.

    Args:
        weight_decay: the factor w of (w / 2) * ||theta||^2; not negative.
        decay_biases: whether parameters whose name ends in `bias` are in the norm too.
    """

    def __init__(self, weight_decay: float = 0.0, decay_biases: bool = False) -> None:
        if weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
        self.weight_decay, self.decay_biases = weight_decay, decay_biases

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each example in nats, [B], from outputs [B, C] and targets [B]."""

    @abstractmethod
    def label_gradients(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """The distribution over labels that the outputs state, and the gradient of the loss at each label.

        Returns:
            probabilities [B, L], and gradients with respect to the outputs [B, L, C], so that
            sum_l p_l g_l g_l^T is the Hessian of the loss in the outputs.
        """

    def output_hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """The Hessian of each example's loss in its outputs, times vectors [..., B, C]."""
        probabilities, gradients = self.label_gradients(outputs)
        return torch.einsum("bl,blc,bld,...bd->...bc", probabilities, gradients, gradients, vectors)

    def margin(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How far each example is on the right side of the decision, [B]."""
        raise TypeError(f"{type(self).__name__} has no margin")

    def decays(self, name: str) -> bool:
        """Whether the parameter of this name is in the regularisation."""
        return self.weight_decay > 0 and (self.decay_biases or not name.endswith("bias"))

    def regularisation(self, parameters: Parameters) -> Tensor:
        """(weight_decay / 2) * ||theta||^2, a scalar."""
        squares = [parameter.square().sum() for name, parameter in parameters.items() if self.decays(name)]
        if not squares:
            return next(iter(parameters.values())).new_zeros(())
        return 0.5 * self.weight_decay * torch.stack(squares).sum()

    def regularisation_gradient(self, parameters: Parameters) -> dict[str, Tensor]:
        """weight_decay * theta, zero where a parameter is not regularised."""
        return {
            name: (self.weight_decay if self.decays(name) else 0.0) * parameter
            for name, parameter in parameters.items()
        }


class SoftmaxCrossEntropy(Objective):
    """-log softmax(outputs)[target]: outputs [B, C] are logits, targets [B] are class indices."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    def label_gradients(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = outputs.softmax(dim=-1)
        identity = torch.eye(outputs.shape[-1], dtype=outputs.dtype, device=outputs.device)
        return probabilities, probabilities.unsqueeze(-2) - identity

    def output_hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """(diag(p) - p p^T) v, without the matrix."""
        probabilities = outputs.softmax(dim=-1)
        weighted = probabilities * vectors
        return weighted - probabilities * weighted.sum(dim=-1, keepdim=True)

    def margin(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Logit of the target less the largest other logit, [B]."""
        target_column = targets.unsqueeze(-1)
        own = outputs.gather(-1, target_column).squeeze(-1)
        others = outputs.scatter(-1, target_column, -torch.inf)
        return own - others.max(dim=-1).values
