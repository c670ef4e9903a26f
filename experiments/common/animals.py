"""Photographs of dogs and fish, in the layout of the paper's own set: 900 + 900 to train on, 300 + 300 to test."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tasks.errors import UserError
from tasks.parameters import TableSource
from tasks.sources import table

FISH, DOG = 0, 1


@dataclass(frozen=True)
class Animals:
    """Photographs of one size.

    Attributes:
        images: in levels, uint8 [N, 3, height, width].
        labels: FISH or DOG, [N].
        names: of the files they were published as, [N].
    """

    images: Tensor
    labels: Tensor
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)


def load_animals(folder: Path) -> tuple[Animals, Animals]:
    """The photographs to train on, and those to test on.

    Raises:
        UserError: a file is missing, damaged, or not of this layout.
    """
    train, test = (_read(folder / f"{split}.parquet") for split in ("train", "test"))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise UserError(f"the photographs in {folder} are not of one size: train and test must be")
    return train, test


def _read(path: Path) -> Animals:
    if not path.is_file():
        raise UserError(
            f"{path.parent} holds no {path.name}: it must be the folder of the photographs of dogs and fish"
        )
    source = TableSource(kind="parquet", label="label", id="source_path", image="image")
    examples = table.read(source, path)
    if not set(examples.labels) <= {str(FISH), str(DOG)}:
        raise UserError(f"column 'label' of {path} must hold {FISH} for a fish and {DOG} for a dog")
    labels = torch.tensor([int(label) for label in examples.labels])
    return Animals(torch.as_tensor(examples.inputs), labels, examples.ids or [])
