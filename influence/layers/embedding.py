"""Embeddings: the gradient of a row of the table is the sum of the output gradients at the places that looked it up."""

import torch
from torch import Tensor, nn

from influence.layers.rule import DirectRule, register


def _applies(module: nn.Module) -> bool:
    """Not where the lookup changes the table, nor where gradients are scaled by counts over the batch."""
    assert isinstance(module, nn.Embedding)
    return module.max_norm is None and not module.scale_grad_by_freq


def _gradients(module: nn.Module, inputs: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    """Indices [B, ...] and gradients [L, B, ..., width] -> the table's, [L, B, entries, width]."""
    assert isinstance(module, nn.Embedding)
    indices = inputs.reshape(len(inputs), -1)
    batch, entries = len(indices), module.num_embeddings
    values = gradients.reshape(len(gradients), *indices.shape, module.embedding_dim)
    if module.padding_idx is not None:
        values = values * (indices != module.padding_idx).unsqueeze(-1)
    # One table per example, one below the other.
    first_rows = entries * torch.arange(batch, device=indices.device).unsqueeze(1)
    tables = values.new_zeros(len(values), batch * entries, module.embedding_dim)
    tables.index_add_(1, (first_rows + indices).flatten(), values.flatten(1, 2))
    return {"weight": tables.unflatten(1, (batch, entries))}


register(nn.Embedding, DirectRule(input_dims=1, gradients=_gradients, applies=_applies))
