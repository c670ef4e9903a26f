import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import UserError
from tasks.parameters import IdxSource
from tasks.sources import idx, input_paths

SOURCE = IdxSource(kind="idx")


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def write_pair(folder: Path, name: str, labels: list[int], size: tuple[int, int] = (2, 3), suffix: str = "") -> Path:
    pack = gzip.compress if suffix else bytes
    images = np.arange(len(labels) * size[0] * size[1]).reshape(len(labels), *size)
    path = folder / f"{name}-images-idx3-ubyte{suffix}"
    path.write_bytes(pack(idx_bytes(images)))
    (folder / f"{name}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(np.array(labels))))
    return path


def error(source: IdxSource, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        idx.read(source, path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_of_images_finds_its_labels(tmp_path: Path, suffix: str) -> None:
    path = write_pair(tmp_path, "train", [1, 0, 1], suffix=suffix)
    examples = idx.read(SOURCE, path)
    assert examples.labels == ["1", "0", "1"]
    assert isinstance(examples.inputs, np.ndarray)
    np.testing.assert_array_equal(examples.inputs, np.arange(18, dtype=np.uint8).reshape(3, 1, 2, 3))
    assert input_paths(SOURCE, path) == [path, tmp_path / f"train-labels-idx1-ubyte{suffix}"]


def test_pairs_of_a_folder_are_joined_in_order_of_name(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", [3, 4])
    write_pair(tmp_path, "t10k", [0, 1, 2], suffix=".gz")
    (tmp_path / "README.md").write_text("not an image")
    examples = idx.read(SOURCE, tmp_path)
    assert examples.labels == ["0", "1", "2", "3", "4"]
    assert examples.origin(2) == f"row 3 of {tmp_path / 't10k-images-idx3-ubyte.gz'}"
    assert examples.origin(3) == f"row 1 of {tmp_path / 'train-images-idx3-ubyte'}"


def test_labels_get_their_names(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", [1, 0])
    examples = idx.read(IdxSource(kind="idx", names=["Shirt", "Bag"]), tmp_path)
    assert examples.labels == ["Bag", "Shirt"]
    assert examples.classes == ["Shirt", "Bag"]


def test_a_label_without_a_name(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", [0, 1, 11])
    message = error(IdxSource(kind="idx", names=["Shirt", "Bag"]), tmp_path)
    assert f"unknown label 11 in {tmp_path / 'train-labels-idx1-ubyte'}, row 3" in message
    assert "`prepare.source.names` names the labels 0 to 1" in message


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_truncated_images(tmp_path: Path, suffix: str) -> None:
    path = write_pair(tmp_path, "train", [0, 1], suffix=suffix)
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path} is truncated" in error(SOURCE, tmp_path)


def test_a_header_that_ends_early_and_one_that_promises_the_moon(tmp_path: Path) -> None:
    path = write_pair(tmp_path, "train", [0, 1])
    path.write_bytes(bytes([0, 0, 8, 3, 0]))
    assert f"{path} is truncated: it ends within its header" in error(SOURCE, tmp_path)
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 1000, 20, 20) + bytes(12))
    assert "its header promises 400,000 values, 12 are there" in error(SOURCE, tmp_path)


def test_more_data_than_promised(tmp_path: Path) -> None:
    path = write_pair(tmp_path, "train", [0, 1])
    path.write_bytes(path.read_bytes() + b"x")
    assert f"{path} is damaged: it holds more than the 12 values" in error(SOURCE, tmp_path)


def test_another_format(tmp_path: Path) -> None:
    path = write_pair(tmp_path, "train", [0, 1])
    path.write_bytes(b"\x89PNG and so on, long enough")
    assert f"{path} is not an IDX file of bytes in 3 dimensions: it begins with 0x89504e47" in error(SOURCE, tmp_path)


def test_counts_that_differ(tmp_path: Path) -> None:
    path = write_pair(tmp_path, "train", [0, 1, 0])
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.array([0, 1])))
    assert f"{path} holds 3 images but {labels} 2 labels" in error(SOURCE, tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    assert f"{tmp_path} holds no IDX images" in error(SOURCE, tmp_path)
    path = write_pair(tmp_path, "train", [0, 1])
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert f"{path} has no labels beside it: put train-labels-idx1-ubyte" in error(SOURCE, tmp_path)


def test_a_file_that_is_there_twice(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", [0, 1])
    write_pair(tmp_path, "train", [0, 1], suffix=".gz")
    assert "is also there with .gz" in error(SOURCE, tmp_path)


def test_sizes_that_differ(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", [0, 1])
    write_pair(tmp_path, "b", [0, 1], size=(4, 4))
    message = error(SOURCE, tmp_path)
    assert f"{tmp_path / 'b-images-idx3-ubyte'} holds images of 4 x 4 pixels but" in message


def test_no_images(tmp_path: Path) -> None:
    path = write_pair(tmp_path, "train", [])
    assert f"{path} holds no images" in error(SOURCE, tmp_path)


@pytest.mark.parametrize("name", ["a-images-idx3-ubyte", "a-labels-idx1-ubyte"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_pair(folder, "a", [0, 1])
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert f"{folder / name} leads outside {folder}" in error(SOURCE, folder)
