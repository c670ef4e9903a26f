"""Group normalisation: the affine parameters of each channel."""

import torch.nn.functional as F
from torch import Tensor, nn

from influence.layers.affine import channel_gradients
from influence.layers.rule import DirectRule, register


def _gradients(module: nn.Module, inputs: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    assert isinstance(module, nn.GroupNorm)
    return channel_gradients(F.group_norm(inputs, module.num_groups, eps=module.eps), gradients)


register(nn.GroupNorm, DirectRule(input_dims=2, gradients=_gradients))
