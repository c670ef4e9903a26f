"""Regression."""

import torch
from torch import Tensor

from influence.objective.base import Objective, random_signs


class SquaredError(Objective):
    """1/2 ||f - y||^2: outputs f are [B, C], targets y [B, C], or [B] where C = 1.

    Minus the log-likelihood of a Gaussian of unit variance around f, but for a constant.
    """

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """[B].

        Raises:
            ValueError: the targets are not as many as the outputs.
        """
        flat = outputs.reshape(len(outputs), -1)
        if targets.shape not in (flat.shape, outputs.shape) and (*targets.shape, 1) != flat.shape:
            raise ValueError(
                f"SquaredError takes a target for every output, not outputs {list(outputs.shape)} and targets "
                f"{list(targets.shape)}"
            )
        return 0.5 * (flat - targets.reshape(flat.shape).to(flat.dtype)).square().sum(dim=-1)

    def output_hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """The Hessian is the identity."""
        return vectors

    def root_columns(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The columns of the identity, [C, B, C]."""
        identity = torch.eye(outputs.shape[-1], dtype=outputs.dtype, device=outputs.device)
        return identity.unsqueeze(1).expand(-1, len(outputs), -1)

    def sampled_columns(self, outputs: Tensor, targets: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Random signs, over sqrt(count)."""
        return random_signs((count, *outputs.shape), outputs, generator) / count**0.5
