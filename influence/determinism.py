"""Influence is defined for examples and outputs that are the same each time they are asked for."""

import torch
from torch import Tensor

from influence.problem import Data, Problem

PROBED = 16  # examples read twice: augmentation drawn half of the time is missed once in 65,536


def check_deterministic_data(data: Data) -> None:
    """Read the first examples twice.

    Raises:
        ValueError: they differ.
    """
    if not len(data):
        return
    first, second = (next(iter(data.batches(min(PROBED, len(data))))) for _ in range(2))
    for part, one, other in zip(("inputs", "targets"), first, second, strict=True):
        if not _same(one, other):
            raise ValueError(
                f"the {part} of the first examples differ when they are read twice: the data is shuffled or augmented "
                "at random, and influence is defined for fixed examples only; take the random transform off"
            )


def check_deterministic_model(problem: Problem, inputs: Tensor) -> None:
    """Pass a few inputs [B, ...] through the model twice.

    Raises:
        ValueError: the outputs differ by more than rounding.
    """
    with torch.no_grad():
        first, second = (problem.outputs(problem.parameters, inputs) for _ in range(2))
    # Some kernels of accelerators add in any order, so that outputs may differ in the last digits.
    tolerance = torch.finfo(first.dtype).eps ** 0.5
    if not torch.allclose(first, second, rtol=tolerance, atol=tolerance * float(first.abs().max()), equal_nan=True):
        raise ValueError(
            f"{type(problem.model).__name__} is stochastic in evaluation mode: two passes over the same inputs differ "
            f"by up to {float((first - second).abs().max()):.3g}; let its random parts (dropout, noise) depend on "
            "`self.training`"
        )


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal, NaN being equal to NaN."""
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
