"""A local copy of what lies at a URL, brought up to date before it is read: any reader then reads plain files.

Only what has changed is fetched, by its ETag and size. A killed copy goes on within the object where it was.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tasks.artifacts import fingerprint, read_json, write_json
from tasks.errors import UserError
from tasks.object_storage.failures import told
from tasks.object_storage.listing import Listed, list_objects
from tasks.object_storage.location import connect, folder, last_name, require_sound
from tasks.progress import Progress

PIECE = 2**22  # bytes asked for at once
AT_ONCE = 2**24  # bytes that are in memory together
MOST_AT_ONCE = 128  # objects, where they are small
PLACED_EVERY = 2.0  # seconds: the record of many small objects is not written for each
ROUNDS = 3  # listings until what was fetched is what is there
FOLDER = "mirror"

Piece = tuple[Listed, int, int]


def mirror(work: Path, url: str, companions: Iterable[str] = ()) -> Path:
    """Bring the local copy of a URL up to date.

    Args:
        work: the workspace's folder for unfinished work; the copy lies in `mirror/` there, and may be deleted.
        url: of an object, or of a folder of objects.
        companions: names of objects beside it; the first that exists is copied, too.

    Returns:
        the file or folder that holds the copy, under the last name of the URL.

    Raises:
        UserError: the URL cannot be read, or does not stay the same while it is; or the disk is too full.
    """
    require_sound(url)
    copy = mirror_folder(work, url)
    with _exclusive(copy):
        for _ in range(ROUNDS):
            system, objects = find(url, companions)
            if _Copy(copy, url).update(system, objects):
                return copy / "data" / last_name(url)
    raise UserError(f"{url} has changed each time while it was read: run again when it is left alone")


def find(url: str, companions: Iterable[str] = ()) -> tuple[Any, list[Listed]]:
    """A file system of fsspec, and what lies at the URL in it, with the first of the companions that exists.

    Raises:
        UserError: see `list_objects`; or none of the companions exists.
    """
    system, path = connect(url)
    objects = list_objects(system, path, url)
    names = list(companions)
    for name in names:
        neighbour, there = f"{folder(url)}/{name}", f"{folder(path)}/{name}"
        with told(neighbour):
            exists = system.exists(there)
        if exists:
            return system, [*objects, *list_objects(system, there, neighbour)]
    if names:
        raise UserError(f"{url} has nothing beside it that is named {' or '.join(names)}: put it there")
    return system, objects


def require_there(url: str) -> None:
    """Make sure that something can be read at a URL, at the cost of a request or two.

    Raises:
        UserError: see `connect`; or there is nothing, or no right to see it.
    """
    system, path = connect(url)
    with told(url):
        system.info(path) if "/" in path else system.ls(path)


def mirror_folder(work: Path, url: str) -> Path:
    return work / FOLDER / fingerprint(url)


def keep_only(work: Path, urls: Iterable[str]) -> None:
    """Drop the copies of other URLs, such as those of yesterday's date."""
    kept = {mirror_folder(work, url) for url in urls}
    for other in set((work / FOLDER).glob("*")) - kept:
        shutil.rmtree(other)


class _Copy:
    """The local copy of one URL, and the record of which object each of its files is.

    A file that the record does not name as the object that is there now is removed before anything is fetched. What is
    fetched is whole before the record names it, and named there before it takes its place. So a kill at any moment
    costs no more than what was on its way, and no file is taken for another. An object that is overwritten while it is
    read is found out by the listing that follows.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.data, self.parts, self.record_file = folder / "data", folder / "parts", folder / "record.json"
        self.record: dict[str, list[object]] = read_json(self.record_file) if self.record_file.exists() else {}
        self._whole: list[Listed] = []
        self._placed = time.monotonic()

    def update(self, system: Any, objects: list[Listed]) -> bool:
        """Fetch what is missing; whether nothing had to be, so that the copy is known to be what the listing says."""
        missing = [each for each in objects if not self._has(each)]
        current = {each.name for each in objects} - {each.name for each in missing}
        self._remove_others(current)
        self.record = {name: what for name, what in self.record.items() if name in current}
        if not missing:
            shutil.rmtree(self.parts, ignore_errors=True)
            return True
        self._require_space(missing)
        self._fetch(system, missing)
        return False

    def _has(self, wanted: Listed) -> bool:
        """Whether the file is there as the record says; its size tells one that a power cut has emptied."""
        path = self.data / wanted.name
        known = self.record.get(wanted.name) == [wanted.version, wanted.size]
        return known and path.is_file() and path.stat().st_size == wanted.size

    def _fetch(self, system: Any, missing: list[Listed]) -> None:
        total = sum(each.size for each in missing)
        begun = sum(self._begun(each) for each in missing)
        again = f", {begun:,} of them already here" if begun else ""
        print(f"{self.url}: {len(missing):,} objects to copy, {total:,} bytes{again}", flush=True)
        progress = Progress(self.url, total, "bytes", begun)
        for batch in _batches(self._pieces(missing)):
            with told(self.url):
                found = system.cat_ranges(
                    [each.path for each, _, _ in batch],
                    [start for _, start, _ in batch],
                    [end for _, _, end in batch],
                    on_error="raise",
                )
            for piece, content in zip(batch, found, strict=True):
                self._append(*piece, content)
                progress.advance(len(content))
            if time.monotonic() - self._placed > PLACED_EVERY:
                self._place()
        self._place()

    def _pieces(self, missing: list[Listed]) -> Iterator[Piece]:
        """What is still to be asked for. Nothing of an empty object is: it has no range of bytes."""
        self.parts.mkdir(exist_ok=True)
        for each in missing:
            begun = self._begun(each)
            for start in range(begun, each.size, PIECE):
                yield each, start, min(start + PIECE, each.size)
            if begun == each.size:
                self._part(each).touch()
                self._whole.append(each)

    def _append(self, each: Listed, start: int, end: int, content: bytes) -> None:
        if len(content) != end - start:
            raise UserError(
                f"{self.url}: {len(content):,} bytes of {each.name} came where {end - start:,} were asked for: it has "
                "changed meanwhile, or its server sends no parts of a file; run again, or copy it here"
            )
        with self._part(each).open("ab") as file:
            file.write(content)
        if end == each.size:
            self._whole.append(each)

    def _place(self) -> None:
        """Bring what is whole under its names."""
        self.record |= {each.name: [each.version, each.size] for each in self._whole}
        write_json(self.record_file, self.record)
        for each in self._whole:
            path = self.data / each.name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._part(each).replace(path)
        self._whole, self._placed = [], time.monotonic()

    def _part(self, each: Listed) -> Path:
        return self.parts / fingerprint(each.name, each.version, each.size)

    def _begun(self, each: Listed) -> int:
        """Bytes of it that an earlier, killed copy has fetched."""
        part = self._part(each)
        return part.stat().st_size if part.exists() else 0

    def _remove_others(self, current: set[str]) -> None:
        """Remove files that are none of the objects any more, and the folders that this empties."""
        for place, _, names in os.walk(self.data, topdown=False):
            for name in names:
                path = Path(place) / name
                if path.relative_to(self.data).as_posix() not in current:
                    path.unlink()
            with contextlib.suppress(OSError):  # it is not empty
                Path(place).rmdir()

    def _require_space(self, missing: list[Listed]) -> None:
        needed = sum(each.size - self._begun(each) for each in missing)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise UserError(
                f"{self.url} needs {needed / 2**20:,.0f} MiB on the disk of {self.folder}, where {free / 2**20:,.0f} "
                "are free: free some space, or give a part of the data"
            )


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces that are asked for together."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        length = piece[2] - piece[1]
        if batch and (size + length > AT_ONCE or len(batch) == MOST_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += length
    if batch:
        yield batch


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """One process at a time changes a copy; the kernel frees the lock when it dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
