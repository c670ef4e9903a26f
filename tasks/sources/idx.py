"""Images and labels in IDX files, the format of MNIST: a big-endian header, then one byte a value."""

import gzip
import io
import re
import struct
import zlib
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from tasks.errors import UserError
from tasks.parameters import IdxSource
from tasks.sources.examples import Examples, require_inside
from tasks.sources.expanding import Bounded

IMAGES_NAME = re.compile(r"images[-.]idx3-ubyte(\.gz)?$")
UNSIGNED_BYTE = 0x08
PIECE = 2**24  # bytes


def read(source: IdxSource, path: Path) -> Examples:
    """Read a file of images with its file of labels, or every such pair of a folder in order of name.

    Raises:
        UserError: a file is missing, damaged, of another format, or leads outside the folder; counts, sizes or labels
            do not fit.
    """
    files = _image_files(path) if path.is_dir() else [path]
    if path.is_dir():
        for file in files:
            require_inside(file, path)
            require_inside(labels_path(file), path)
    images: list[np.ndarray] = []
    labels: list[str] = []
    counts: list[int] = []
    for file in files:
        pair_images, pair_labels = _read_pair(file, source.names)
        if images and pair_images.shape[1:] != images[0].shape[1:]:
            raise UserError(
                f"{file} holds images of {_size(pair_images)} pixels but {files[0]} of {_size(images[0])}: "
                "give `prepare.path` a folder of images of one size"
            )
        images.append(pair_images)
        labels += pair_labels
        counts.append(len(pair_images))
    ends = np.cumsum(counts)

    def origin(row: int) -> str:
        position = int(np.searchsorted(ends, row, side="right"))
        return f"row {row - int(ends[position]) + counts[position] + 1} of {files[position]}"

    return Examples(labels, np.concatenate(images)[:, None], classes=source.names, origin=origin)


def labels_path(images: Path) -> Path:
    """The file of labels that belongs to a file of images, compressed or not.

    Raises:
        UserError: the name does not say which, or there is no such file.
    """
    names = label_names(images.name)
    if not names:
        raise UserError(f"{images} is not named like a file of IDX images: name it NAME-images-idx3-ubyte or ....gz")
    for name in names:
        if images.with_name(name).is_file():
            return images.with_name(name)
    raise UserError(f"{images} has no labels beside it: put {names[0]} into the same folder")


def label_names(images: str) -> list[str]:
    """What the file of labels of a file of images may be called, the likeliest first; none if it holds no images."""
    if not IMAGES_NAME.search(images):
        return []
    name = IMAGES_NAME.sub(lambda match: match[0].replace("images", "labels").replace("idx3", "idx1"), images)
    plain = name.removesuffix(".gz")
    return list(dict.fromkeys([name, plain, f"{plain}.gz"]))


def _image_files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and IMAGES_NAME.search(file.name))
    if not files:
        raise UserError(f"{folder} holds no IDX images: it needs a file named NAME-images-idx3-ubyte or ....gz")
    for file in files:
        if file.with_name(file.name + ".gz") in files:
            raise UserError(f"{file} is also there with .gz: remove one of the two, or its images count twice")
    return files


def _read_pair(images_file: Path, names: list[str] | None) -> tuple[np.ndarray, list[str]]:
    labels_file = labels_path(images_file)
    images, labels = _read_array(images_file, 3), _read_array(labels_file, 1)
    if len(images) != len(labels):
        raise UserError(f"{images_file} holds {len(images):,} images but {labels_file} {len(labels):,} labels")
    if names is None:
        return images, [str(label) for label in labels.tolist()]
    unnamed = np.flatnonzero(labels >= len(names))
    if len(unnamed):
        raise UserError(
            f"unknown label {labels[unnamed[0]]} in {labels_file}, row {unnamed[0] + 1}: "
            f"`prepare.source.names` names the labels 0 to {len(names) - 1}"
        )
    return images, [names[label] for label in labels.tolist()]


def _read_array(path: Path, dimensions: int) -> np.ndarray:
    """One IDX file, uint8 of so many dimensions. No more is read than its header promises."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with io.BufferedReader(Bounded(gzip.open(raw), path)) if compressed else raw as file:
                return _parse(file, path, dimensions)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise UserError(f"{path} is truncated or damaged: gzip cannot read it to its end") from None
        except MemoryError:
            raise UserError(f"{path} does not fit into memory: give `prepare.path` a smaller file") from None


def _parse(file: IO[bytes], path: Path, dimensions: int) -> np.ndarray:
    header = file.read(4 + 4 * dimensions)
    if header[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]):
        raise UserError(
            f"{path} is not an IDX file of bytes in {dimensions} dimensions: it begins with "
            f"0x{header[:4].hex()}, not 0x0000{UNSIGNED_BYTE:02x}{dimensions:02x}"
        )
    if len(header) < 4 + 4 * dimensions:
        raise UserError(f"{path} is truncated: it ends within its header")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if 0 in shape:
        raise UserError(f"{path} holds no {'images' if dimensions == 3 else 'labels'}")
    values = _read(file, prod(shape) + 1)
    if len(values) < prod(shape):
        raise UserError(f"{path} is truncated: its header promises {prod(shape):,} values, {len(values):,} are there")
    if len(values) > prod(shape):
        raise UserError(f"{path} is damaged: it holds more than the {prod(shape):,} values its header promises")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read(file: IO[bytes], most: int) -> bytearray:
    """At most so many bytes, piece by piece: a header may promise more than memory can hold."""
    values = bytearray()
    while len(values) < most and (piece := file.read(min(PIECE, most - len(values)))):
        values += piece
    return values


def _size(images: np.ndarray) -> str:
    return f"{images.shape[1]} x {images.shape[2]}"
