"""Fully connected layers, used once per example or at every position of a sequence."""

from torch import Tensor, nn

from influence.layers.rule import Rule, register


def _activations(module: nn.Module, inputs: Tensor) -> Tensor:
    return inputs.flatten(1, -2) if inputs.dim() > 2 else inputs.unsqueeze(1)


def _gradients(module: nn.Module, gradients: Tensor) -> Tensor:
    # The caller passes one leading axis, [L, B, out] or [L, B, positions..., out].
    return gradients.flatten(2, -2) if gradients.dim() > 3 else gradients.unsqueeze(2)


register(nn.Linear, Rule(input_dims=2, activations=_activations, gradients=_gradients))
