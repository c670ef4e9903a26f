"""A folder of pictures, one sub-folder a class."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import UserError
from tasks.parameters import ImageFolderSource
from tasks.sources.examples import Examples, require_inside
from tasks.sources.picture import decode_pictures


def read(source: ImageFolderSource, path: Path) -> Examples:
    """Read the pictures of each class, classes and files in order of name.

    Hidden files, and files beside the classes, are ignored. An example is identified by the bytes of its
    file, so that neither renaming nor another `size` changes its id.

    Raises:
        UserError: a class is empty, a picture cannot be read, or something leads outside the folder.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder: `prepare.path` must name a folder with one sub-folder a class")
    files = {folder.name: _pictures(folder, path) for folder in _visible(path) if folder.is_dir()}
    if not files:
        raise UserError(f"{path} has no sub-folders: it needs one for each class")
    flat = [file for class_files in files.values() for file in class_files]
    contents: list[str] = []

    def load() -> Iterator[bytes]:  # one file at a time: together they may be larger than memory
        for file in flat:
            data = file.read_bytes()
            contents.append(hashlib.sha256(data).hexdigest())
            yield data

    def origin(row: int) -> str:
        return str(flat[row])

    return Examples(
        labels=[name for name, class_files in files.items() for _ in class_files],
        inputs=decode_pictures(load(), len(flat), origin, source.size, source.channels),
        classes=list(files),
        contents=contents,
        origin=origin,
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _pictures(folder: Path, root: Path) -> list[Path]:
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{str(folder)!r} is not a name in UTF-8: rename this class") from None
    files = _visible(folder)
    if not files:
        raise UserError(f"empty class: {folder} holds no images; fill it or remove it")
    for file in files:
        require_inside(file, root)
        if not file.is_file():
            raise UserError(f"{file} is not a file: a class folder must hold images only")
    return files
