"""What an example's input is known by, so that a verdict on it ends with it."""

import hashlib

import pyarrow as pa


def contents(examples: pa.Table) -> list[str]:
    """The first 64 bits in hex of the sha256 of what a person was shown: the text or row, or the image's pixels.

    It is not that of the encoded input, which in tables and texts changes with the other examples.

    Args:
        examples: rows of data/prepared/*.parquet, with `input` and `display`.
    """
    shown = examples["display"].to_pylist()
    if None not in shown:
        return [_digest(text.encode()) for text in shown]
    return [_digest(image.tobytes()) for chunk in examples["input"].chunks for image in chunk.to_numpy_ndarray()]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
