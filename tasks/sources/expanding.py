"""Compressed files, read as streams that refuse to expand without bounds: a bomb of a megabyte may hold a gigabyte."""

import bz2
import contextlib
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from tasks.errors import UserError

DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)  # what the decompressors raise
FREE = 2**26  # bytes that any file may expand to
MOST = 200  # times its size that a larger one may expand to; text shrinks to a fifth, pictures rarely to a twentieth

Expanded = io.BufferedIOBase | IO[bytes]


def most_expanded(path: Path) -> int:
    """Bytes that this file may become."""
    return max(FREE, MOST * path.stat().st_size)


class Bounded(io.RawIOBase):
    """What comes out of a decompressor, until it is more than a sound file of this size would hold.

    Raises:
        UserError: when read beyond that.
    """

    def __init__(self, expanded: Expanded, path: Path) -> None:
        super().__init__()
        self._expanded, self._path = expanded, path
        self._left = most_expanded(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        part = self._expanded.read(len(buffer))
        self._left -= len(part)
        if self._left < 0:
            raise UserError(
                f"{self._path} expands to more than {MOST} times its size, as decompression bombs do: "
                "if it is sound, store it uncompressed"
            )
        buffer[: len(part)] = part
        return len(part)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file: compressed by gzip, bzip2, xz, zstandard or zip, as the end of its name says, or not."""
    with contextlib.ExitStack() as stack:
        match path.suffix.lower():
            case ".gz":
                expanded: Expanded = stack.enter_context(gzip.open(path))
            case ".bz2":
                expanded = stack.enter_context(bz2.open(path))
            case ".xz":
                expanded = stack.enter_context(lzma.open(path))
            case ".zst":
                expanded = stack.enter_context(pa.input_stream(path, compression="zstd"))
            case ".zip":
                archive = stack.enter_context(zipfile.ZipFile(path))
                expanded = stack.enter_context(archive.open(_only_member(archive, path)))
            case _:
                yield stack.enter_context(path.open("rb"))
                return
        yield stack.enter_context(io.BufferedReader(Bounded(expanded, path)))


def _only_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise UserError(f"{path} holds {len(members):,} files: give an archive of one")
    return members[0]
