"""Picture files (PNG, JPEG, ...) as arrays of pixels. They are hostile: any failure becomes a named error."""

import io
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageOps

from tasks.errors import UserError

# Pillow would open some forty others, one of them by starting a program of another project (Ghostscript).
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def decode_pictures(
    files: Iterable[bytes],
    count: int,
    origin: Callable[[int], str],
    size: tuple[int, int] | None,
    channels: int,
) -> np.ndarray:
    """Decode pictures to uint8 [N, channels, height, width].

    Args:
        files: the bytes of each picture file.
        count: how many files there are, N; at least 1.
        origin: names the picture at a position, for messages.
        size: height and width to resize to; None: all must be of one size.
        channels: 1 for grey, 3 for red, green, blue.

    Raises:
        UserError: a picture cannot be read, is too large, or is not of the first one's size.
    """
    pictures = np.empty((0, 0, 0, 0), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for row, file in enumerate(files):
            pixels = _decode(file, origin(row), size, channels)
            if row == 0:
                pictures = _room(count, pixels, origin(0))
            if pixels.shape != pictures.shape[1:]:
                raise UserError(
                    f"{origin(row)} is {_size(pixels)} pixels (height x width) but {origin(0)} is "
                    f"{_size(pictures[0])}: set `prepare.source.size` to resize all"
                )
            pictures[row] = pixels
    return pictures


def _room(count: int, first: np.ndarray, where: str) -> np.ndarray:
    try:
        return np.empty((count, *first.shape), np.uint8)
    except MemoryError:
        raise UserError(
            f"{count:,} pictures of {_size(first)} pixels, as {where} is, do not fit into memory: "
            "set `prepare.source.size` to a smaller size"
        ) from None


def _decode(file: bytes, where: str, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """Pixels of one picture, upright, uint8 [channels, height, width]."""
    try:
        with Image.open(io.BytesIO(file), formats=FORMATS) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode[0] in "IF":
                raise UserError(f"{where} has more than 8 bits a channel: save it with 8")
            picture = picture.convert("L" if channels == 1 else "RGB")
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"{Image.MAX_IMAGE_PIXELS or 0:,}"
        raise UserError(f"{where} is larger than the {limit} pixels allowed: make it smaller or remove it") from None
    except Exception as error:  # decoders raise what they like on a damaged file
        reason = str(error) or type(error).__name__
        if reason.startswith("cannot identify"):
            reason = f"not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise UserError(f"{where} is not a readable image ({reason}): replace or remove it") from None
    if size is not None:
        picture = picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(picture).reshape(picture.height, picture.width, channels).transpose(2, 0, 1)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[-2]} x {pixels.shape[-1]}"
