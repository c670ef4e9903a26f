"""Any training set that can be indexed, as `Data`: examples in a fixed order, in batches of any size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from influence.determinism import check_deterministic_data
from influence.problem import Data, TensorData

Examples = tuple[Tensor, Tensor]  # inputs [N, ...] and targets [N, ...]

WANTED = "pass two tensors (inputs, targets), or a map-style dataset of pairs (input, target)"


@dataclass(frozen=True)
class DatasetData:
    """A map-style dataset, read in order and collated by `torch.utils.data.default_collate`.

    Attributes:
        dataset: `dataset[i]` is a pair (input, target) for every i from 0 to `len(dataset)` - 1.
    """

    dataset: Dataset[Any]

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[Examples]:
        """Inputs [B, ...] and targets [B, ...], `size` at a time, on the device.

        Raises:
            TypeError: an example is not a pair of things that collate into tensors.
            ValueError: examples of one batch have different shapes.
        """
        for start in range(0, len(self), size):
            inputs, targets = self._batch(range(start, min(start + size, len(self))))
            yield inputs.to(device), targets.to(device)

    def _batch(self, indices: range) -> Examples:
        pairs = [_pair(self.dataset[index], index) for index in indices]
        where = f"examples {indices[0]} to {indices[-1]} of the dataset"
        try:
            inputs, targets = default_collate(pairs)
        except TypeError as error:
            raise TypeError(f"{where} do not become tensors ({error}): give the dataset transforms that do") from None
        except RuntimeError as error:
            raise ValueError(f"{where} do not fit in one batch ({error}): give them one shape") from None
        for part, value in (("inputs", inputs), ("targets", targets)):
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"the {part} of {where} become {type(value).__name__}, not a tensor: give it transforms"
                )
        return inputs, targets


def as_data(examples: Examples | Data | Dataset[Any], role: str = "train") -> Data:
    """Examples in any accepted form as `Data`, checked.

    Args:
        examples: two tensors, inputs [N, ...] and targets [N, ...]; a map-style `torch.utils.data.Dataset` of pairs
            (input, target), such as a `Subset` or a `ConcatDataset`; or anything that is `Data` already.
        role: what they are called in messages.

    Raises:
        TypeError: it is none of these, such as a `DataLoader` or an `IterableDataset`.
        ValueError: inputs and targets are not as many, or the examples differ when they are read again.
    """
    if isinstance(examples, DataLoader):
        raise TypeError(f"{role} is a DataLoader, which may shuffle: {WANTED}, such as `loader.dataset`")
    if isinstance(examples, IterableDataset):
        raise TypeError(f"{role} is an IterableDataset, whose examples have no order to be named by: {WANTED}")
    parts = examples.tensors if isinstance(examples, TensorDataset) else examples
    if isinstance(parts, tuple | list):
        return _tensor_data(parts, role)
    if hasattr(examples, "batches") and hasattr(examples, "__len__"):
        data = cast(Data, examples)
    elif isinstance(examples, Dataset) and hasattr(examples, "__len__"):
        data = DatasetData(examples)
    else:
        lacking = "has no length" if isinstance(examples, Dataset) else f"is of type {type(examples).__name__}"
        raise TypeError(f"{role} {lacking}: {WANTED}")
    check_deterministic_data(data)
    return data


def _tensor_data(parts: Sequence[Any], role: str) -> TensorData:
    if len(parts) != 2 or not all(isinstance(part, Tensor) for part in parts):
        held = ", ".join(type(part).__name__ for part in parts[:4]) or "nothing"
        raise TypeError(f"{role} holds {held}: {WANTED}")
    inputs, targets = parts
    if not inputs.dim() or not targets.dim() or len(inputs) != len(targets):
        raise ValueError(
            f"{role} holds inputs {list(inputs.shape)} and targets {list(targets.shape)}: they must be as many"
        )
    return TensorData(inputs, targets)


def _pair(example: Any, index: int) -> tuple[Any, Any]:
    if not isinstance(example, tuple | list) or len(example) != 2:
        kind = f"{type(example).__name__} of {len(example)}" if hasattr(example, "__len__") else type(example).__name__
        raise TypeError(
            f"example {index} of the dataset is a {kind}, not a pair (input, target): wrap the dataset in one that "
            "returns pairs"
        )
    return example[0], example[1]
