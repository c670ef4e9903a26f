"""Batch normalisation in evaluation mode, by running statistics: the affine parameters of each channel."""

import torch.nn.functional as F
from torch import Tensor, nn

from influence.layers.affine import channel_gradients
from influence.layers.rule import DirectRule, register

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


def _applies(module: nn.Module) -> bool:
    """Only with running statistics: without them an example's gradient depends on its batch."""
    assert isinstance(module, BatchNorm)
    return module.running_mean is not None and module.running_var is not None


def _gradients(module: nn.Module, inputs: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    assert isinstance(module, BatchNorm)
    normalised = F.batch_norm(inputs, module.running_mean, module.running_var, eps=module.eps)
    return channel_gradients(normalised, gradients)


register(nn.BatchNorm1d, DirectRule(input_dims=2, gradients=_gradients, applies=_applies))
register(nn.BatchNorm2d, DirectRule(input_dims=4, gradients=_gradients, applies=_applies))
