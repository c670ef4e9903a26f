"""Chosen examples of a training set that is only read in order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from influence.problem import Data, TensorData

READ = 1024  # examples looked at in one go


def take(data: Data, indices: Tensor | Sequence[int]) -> TensorData:
    """The examples at these positions, in this order, by one pass over the data; only they are held in memory.

    Args:
        data: N examples.
        indices: positions from 0 to N - 1, one or more; a position may come twice.

    Raises:
        ValueError: there is no position, or one that the data does not have.
    """
    wanted = positions(indices, len(data))
    unique, place = wanted.unique(return_inverse=True)
    inputs, targets, start = [], [], 0
    for batch_inputs, batch_targets in data.batches(READ):
        here = unique[(unique >= start) & (unique < start + len(batch_inputs))] - start
        if len(here):
            inputs.append(batch_inputs[here])
            targets.append(batch_targets[here])
        start += len(batch_inputs)
    return TensorData(torch.cat(inputs)[place], torch.cat(targets)[place])


def positions(indices: Tensor | Sequence[int], examples: int) -> Tensor:
    """Positions as a tensor [K] of int64, checked against the number of examples.

    Raises:
        ValueError: there is no position, or one that the data does not have.
    """
    found = torch.as_tensor(indices).cpu()
    if not found.numel():
        raise ValueError("no position of a training example is given")
    if found.dim() != 1 or found.is_floating_point() or found.dtype == torch.bool:
        raise ValueError(
            f"positions of training examples are a list of whole numbers, not {found.dtype} in {found.dim()} dimensions"
        )
    outside = found[(found < 0) | (found >= examples)]
    if len(outside):
        raise ValueError(f"there is no training example {int(outside[0])}: positions go from 0 to {examples - 1:,}")
    return found.long()


def membership(sets: Sequence[Tensor | Sequence[int]], examples: int) -> Tensor:
    """Which examples belong to which set, [K, N] of bool, for sets to leave out: 0 < s < N.

    Args:
        sets: positions of the members of each set.
        examples: N.

    Raises:
        ValueError: there is no set; a set is empty, is everything, or names a position twice or one that the data does
            not have.
    """
    if not len(sets):
        raise ValueError("no set of training examples is given")
    member = torch.zeros(len(sets), examples, dtype=torch.bool)
    for row, indices in zip(member, sets, strict=True):
        found = positions(indices, examples)
        row[found] = True
        if int(row.sum()) < len(found):
            raise ValueError("a set of training examples names one of them twice")
        check_size(len(found), examples)
    return member


def check_size(size: int, examples: int) -> None:
    """Raise where s of n examples cannot be left out.

    Raises:
        ValueError: s is not from 1 to n - 1.
    """
    if not 0 < size < examples:
        raise ValueError(f"a set of {size:,} of {examples:,} examples cannot be left out: from 1 to n - 1 can")
