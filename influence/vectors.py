"""Blocks of vectors in parameter space: a dict from parameter name to a tensor [K, *shape], K vectors at once.

Names and shapes stay with the numbers: nothing is flattened, so nothing can be put back in the wrong order.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Vectors = dict[str, Tensor]


def count(vectors: Mapping[str, Tensor]) -> int:
    """K, the number of vectors in the block."""
    return len(next(iter(vectors.values())))


def block(vector: Mapping[str, Tensor]) -> Vectors:
    """One vector {name: [*shape]} as a block of one."""
    return {name: value.unsqueeze(0) for name, value in vector.items()}


def zeros_like(vectors: Mapping[str, Tensor]) -> Vectors:
    return {name: torch.zeros_like(value) for name, value in vectors.items()}


def select(vectors: Mapping[str, Tensor], columns: Tensor | slice | Sequence[int]) -> Vectors:
    """The vectors at these positions of the block."""
    return {name: value[columns] for name, value in vectors.items()}


def store(target: Vectors, columns: Tensor, values: Mapping[str, Tensor]) -> None:
    """Write values into these positions of the block, in place."""
    for name, value in values.items():
        target[name][columns] = value


def concatenate(blocks: Sequence[Mapping[str, Tensor]]) -> Vectors:
    return {name: torch.cat([vectors[name] for vectors in blocks]) for name in blocks[0]}


def add_scaled(left: Mapping[str, Tensor], scale: Tensor | float, right: Mapping[str, Tensor]) -> Vectors:
    """left + scale * right, with one scale for all or one per vector, [K]."""
    return {name: value + per_vector(scale, right[name]) * right[name] for name, value in left.items()}


def scaled(scale: Tensor | float, vectors: Mapping[str, Tensor]) -> Vectors:
    return {name: per_vector(scale, value) * value for name, value in vectors.items()}


def per_vector(scale: Tensor | float, value: Tensor) -> Tensor | float:
    """Shape a scale [K] so that it multiplies [K, *shape]."""
    return scale.view(-1, *([1] * (value.dim() - 1))) if isinstance(scale, Tensor) else scale


def rows(value: Tensor) -> Tensor:
    """[K, *shape] as [K, P]; a parameter that is a single number, [K], as [K, 1]."""
    return value.flatten(1) if value.dim() > 1 else value.unsqueeze(1)


def dot(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Tensor:
    """Inner product of each vector with its partner, [K]."""
    return torch.stack([rows(value * right[name]).sum(dim=1) for name, value in left.items()]).sum(dim=0)


def cross_dot(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Tensor:
    """Inner products of every vector with every other, [K_left, K_right]."""
    return torch.stack([rows(value) @ rows(right[name]).T for name, value in left.items()]).sum(dim=0)


def norm(vectors: Mapping[str, Tensor]) -> Tensor:
    """Euclidean norm of each vector, [K]."""
    return dot(vectors, vectors).sqrt()


def all_finite(vectors: Mapping[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in vectors.values())
