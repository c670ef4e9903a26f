"""MNIST as the paper splits it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.errors import UserError
from tasks.parameters import IdxSource
from tasks.sources import idx

VALIDATION = 5_000  # the first of the training file, which the paper's code sets aside


@dataclass(frozen=True)
class Digits:
    """Images [N, 784] with values from 0 to 1, and labels [N].

    The test images carry the paper's numbering: test image 8 is row 8.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def binary(self, positive: int, negative: int) -> "Digits":
        """Only two of the digits; labels are +1 and -1."""
        parts = []
        for images, labels in ((self.train_images, self.train_labels), (self.test_images, self.test_labels)):
            kept = (labels == positive) | (labels == negative)
            parts += [images[kept], torch.where(labels[kept] == positive, 1, -1)]
        return Digits(*parts)

    def tenth(self) -> "Digits":
        """A tenth of the training images, those that the paper's code draws of MNIST: its "small MNIST"."""
        order = np.arange(len(self.train_labels))
        np.random.RandomState(0).shuffle(order)
        kept = torch.from_numpy(order[: len(order) // 10])
        return Digits(self.train_images[kept], self.train_labels[kept], self.test_images, self.test_labels)


def load_digits(folder: Path, dtype: torch.dtype = torch.float64) -> Digits:
    """Training images are the last 55,000 of the training file, pixels divided by 255.

    Raises:
        UserError: a file is missing or damaged.
    """
    train_images, train_labels = _read(folder, "train", dtype)
    test_images, test_labels = _read(folder, "t10k", dtype)
    return Digits(train_images[VALIDATION:], train_labels[VALIDATION:], test_images, test_labels)


def _read(folder: Path, prefix: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    for name in (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-images-idx3-ubyte"):
        if (folder / name).is_file():
            examples = idx.read(IdxSource(kind="idx"), folder / name)
            images = torch.tensor(examples.inputs).flatten(1).to(dtype) / 255
            return images, torch.tensor([int(label) for label in examples.labels])
    raise UserError(f"{folder} holds no {prefix}-images-idx3-ubyte.gz: it must be the folder of MNIST's own four files")
