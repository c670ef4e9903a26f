"""Layer normalisation: affine parameters of the last axes, used at every position before them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from influence.layers.rule import DirectRule, register


def _gradients(module: nn.Module, inputs: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    assert isinstance(module, nn.LayerNorm)
    shape = module.normalized_shape
    normalised = F.layer_norm(inputs, shape, eps=module.eps).reshape(len(inputs), -1, *shape)
    positions = gradients.reshape(*gradients.shape[:2], -1, *shape)
    return {"weight": torch.einsum("lbp...,bp...->lb...", positions, normalised), "bias": positions.sum(dim=2)}


register(nn.LayerNorm, DirectRule(input_dims=2, gradients=_gradients))
