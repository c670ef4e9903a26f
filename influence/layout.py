"""Parameter space as a matrix and back, for what needs one: dense matrices and orthonormal bases.

Everything else carries named tensors. A layout knows names and shapes, so a row always returns to where it came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.vectors import Vectors, rows


@dataclass(frozen=True)
class Layout:
    """The parameters in the order in which a row holds them: {name: shape}."""

    shapes: dict[str, torch.Size]

    @classmethod
    def of(cls, parameters: Mapping[str, Tensor]) -> "Layout":
        """The layout of one vector {name: [*shape]}."""
        return cls({name: value.shape for name, value in parameters.items()})

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return sum(shape.numel() for shape in self.shapes.values())

    def flatten(self, vectors: Vectors) -> Tensor:
        """{name: [K, *shape]}, whatever the order of its names, as [K, P]."""
        return torch.cat([rows(vectors[name]) for name in self.shapes], dim=1)

    def unflatten(self, flat: Tensor) -> Vectors:
        """[K, P] as {name: [K, *shape]}."""
        parts = flat.split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {
            name: part.reshape(len(flat), *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
