import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from experiments.common import mnist
from tasks.errors import UserError


def write_digits(folder: Path, train: int, test: int) -> np.ndarray:
    """Random images in MNIST's four files; returns the training images."""
    rng, written = np.random.default_rng(0), []
    for prefix, count in (("train", train), ("t10k", test)):
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + values.tobytes(), 1))
        written.append(images)
    return written[0]


def test_the_first_images_are_set_aside_and_two_digits_are_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "VALIDATION", 20)
    images = write_digits(tmp_path, train=60, test=30)
    digits = mnist.load_digits(tmp_path)
    assert np.array_equal((digits.train_images * 255).round().numpy(), images[20:].reshape(40, -1))
    assert digits.train_labels.tolist() == [n % 10 for n in range(20, 60)]
    pair = digits.binary(1, 7)
    assert pair.test_labels.tolist() == [1, -1] * 3
    assert pair.test_images.equal(digits.test_images[[1, 7, 11, 17, 21, 27]])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no train-images-idx3-ubyte"):
        mnist.load_digits(tmp_path)
