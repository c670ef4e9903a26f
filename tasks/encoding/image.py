"""Images stay uint8; mean and standard deviation are learned, for batches to be standardised by."""

from typing import Any

import numpy as np
import pyarrow as pa

from tasks.errors import UserError

CHUNK = 4096  # images counted at once: counting needs 8 bytes a pixel


def fit(images: np.ndarray) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape of one image, and mean and standard deviation of each channel's pixels / 255.

    Args:
        images: uint8 [N, C, H, W].
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), CHUNK):
        for channel, total in enumerate(counts):
            total += np.bincount(images[start : start + CHUNK, channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
    std[std == 0] = 1.0  # a channel of one value is only centred
    return images.shape[1:], {"mean": mean.tolist(), "std": std.tolist()}


def encode(images: np.ndarray, shape: tuple[int, ...]) -> pa.Array:
    """Images uint8 [N, C, H, W] as a column of tensors."""
    if images.shape[1:] != shape:
        found, expected = (" x ".join(map(str, sizes)) for sizes in (images.shape[1:], shape))
        raise UserError(
            f"images are {found} (channels x height x width), but those trained on are {expected}: "
            "bring them to that size, or set `prepare.source.size`"
        )
    return tensor_column(images)


def tensor_column(values: np.ndarray) -> pa.Array:
    """An array [N, ...] as a column of N tensors of one shape; N may be 0."""
    shape = values.shape[1:]
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    storage = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape)))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, shape), storage)
