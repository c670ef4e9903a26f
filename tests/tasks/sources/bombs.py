"""Reads files that would fill the memory; run by test_bombs.py.

Prints a line for each: its name, the most memory taken until then since the start (MiB), and what came of it.
"""

import gzip
import io
import resource
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tasks.errors import UserError
from tasks.parameters import IdxSource, ImageFolderSource, TableSource, load_parameters
from tasks.sources import read

MIB = 2**20
CSV = TableSource(kind="csv", label="label")


def zeros(count: int) -> bytes:
    """So many zeros, compressed by gzip."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(squeeze.compress(bytes(MIB)) for _ in range(count // MIB)), squeeze.flush()])


def csv_bomb(root: Path) -> object:
    (root / "a.csv.gz").write_bytes(gzip.compress(b"a,label\n") + zeros(200 * MIB))
    return read(CSV, root / "a.csv.gz")


def zip_bomb(root: Path) -> object:
    with zipfile.ZipFile(root / "a.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as file:
        file.write(b"a,label\n")
        for _ in range(100):
            file.write(b"1,x\n" * (MIB // 4))
    return read(CSV, root / "a.csv.zip")


def wide_header(root: Path) -> object:
    (root / "a.csv").write_text(",".join(f"c{number}" for number in range(10**6)) + "\n")
    return read(CSV, root / "a.csv")


def idx(root: Path, content: bytes) -> object:
    (root / "a-images-idx3-ubyte").write_bytes(content)
    (root / "a-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 1) + b"\0")
    return read(IdxSource(kind="idx"), root)


def idx_that_promises_the_moon(root: Path) -> object:
    return idx(root, struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(100))


def idx_bomb(root: Path) -> object:
    return idx(root, gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2**21, 28, 28)) + zeros(200 * MIB))


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


def png_bomb(root: Path) -> object:
    return pictures(root, png(60_000, 60_000))


def pictures(root: Path, content: bytes) -> object:
    (root / "cat").mkdir()
    for number in range(3):
        (root / f"cat/{number}.png").write_bytes(content)
    return read(ImageFolderSource(kind="image_folder"), root)


def png_with_a_long_text(root: Path) -> object:
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(file, "PNG")
    text = b"zTXt" + b"Comment\0\0" + zlib.compress(bytes(100 * MIB), 9)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return pictures(root, file.getvalue()[:33] + chunk + file.getvalue()[33:])


def parquet_of_equal_rows(root: Path) -> object:
    batch = pa.table({"a": pa.nulls(10**6, pa.int8()), "label": pa.array(["x"] * 10**6).dictionary_encode()})
    with pq.ParquetWriter(root / "a.parquet", batch.schema) as writer:
        for _ in range(10):
            writer.write_table(batch)
    return read(TableSource(kind="parquet", label="label"), root / "a.parquet")


def parquet_of_one_long_text(root: Path) -> object:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * MIB]))
    pq.write_table(pa.table({"a": texts, "label": ["x", "y"] * 500}), root / "a.parquet")
    return read(TableSource(kind="parquet", label="label", text="a"), root / "a.parquet")


def aliases_of_aliases(root: Path) -> object:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    (root / "params.yaml").write_text("\n".join(lines))
    return load_parameters(root / "params.yaml")


def deep_nesting(root: Path) -> object:
    (root / "params.yaml").write_text("a: " + "[" * 10_000)
    return load_parameters(root / "params.yaml")


BOMBS: list[Callable[[Path], object]] = [
    csv_bomb, zip_bomb, wide_header, idx_that_promises_the_moon, idx_bomb, png_bomb, png_with_a_long_text,
    parquet_of_equal_rows, parquet_of_one_long_text, aliases_of_aliases, deep_nesting,
]  # fmt: skip

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (6 * 1024 * MIB, resource.RLIM_INFINITY))  # should all else fail
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for bomb in BOMBS:
        root = Path(sys.argv[1]) / bomb.__name__
        root.mkdir()
        try:
            said = f"read {bomb(root)!r}"[:100]
        except UserError as error:
            said = f"refused: {error}"
        except BaseException as error:
            said = f"FAILED: {type(error).__name__}: {error}"[:300]
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        print(f"{bomb.__name__}\t{peak}\t{said}", flush=True)
