"""Whether tensors are still those that were written: safetensors itself would not notice a changed number."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

KEY = "digest"  # in the metadata of a file that bears one


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
