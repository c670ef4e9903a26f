"""Stored images as data URIs small enough to put hundreds of them in one page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

LOSSLESS_SIDE = 64  # up to here a PNG of the pixels as stored; above it a JPEG
LARGEST_SIDE = 128  # of a thumbnail


@dataclass(frozen=True)
class Picture:
    """One picture: a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def encode_picture(pixels: np.ndarray, largest_side: int = LARGEST_SIDE) -> Picture:
    """Encode an image, losslessly where it is small.

    Args:
        pixels: uint8 [C, H, W], one channel (grey) or three (red, green, blue).
        largest_side: pixels; a larger image is made smaller.

    Raises:
        ValueError: the array is of another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise ValueError(f"a picture is uint8 [1 or 3, H, W], not {pixels.dtype} {list(pixels.shape)}")
    rows = pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(rows))
    buffer = io.BytesIO()
    if max(image.size) <= LOSSLESS_SIDE:
        image.save(buffer, format="PNG", optimize=True)
        return Picture(_data_uri("image/png", buffer), *image.size)
    image.thumbnail((largest_side, largest_side), Image.Resampling.LANCZOS)
    image.save(buffer, format="JPEG", quality=80, optimize=True)
    return Picture(_data_uri("image/jpeg", buffer), *image.size)


def _data_uri(media_type: str, buffer: io.BytesIO) -> str:
    return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
