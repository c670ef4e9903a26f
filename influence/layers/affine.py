"""What normalisations share: y = weight * x + bias, channel by channel, x the input after normalisation."""

import torch
from torch import Tensor


def channel_gradients(normalised: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    """Gradients of weight and bias, [L, B, C] each, summed over positions.

    Args:
        normalised: x, [B, C, ...].
        gradients: of y, [L, B, C, ...].
    """
    positions = gradients.reshape(*gradients.shape[:3], -1)
    weight = torch.einsum("lbcp,bcp->lbc", positions, normalised.reshape(*normalised.shape[:2], -1))
    return {"weight": weight, "bias": positions.sum(dim=-1)}
