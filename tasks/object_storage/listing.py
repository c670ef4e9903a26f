"""What lies at a URL: one object, or a folder of them, each with its size and what tells that it has changed."""

from dataclasses import dataclass
from typing import Any

from tasks.errors import UserError
from tasks.object_storage.failures import told
from tasks.object_storage.location import last_name

# What the providers call it, the surest first; each changes with the content.
VERSIONS = ("ETag", "etag", "md5Hash", "generation", "Content-MD5", "LastModified", "Last-Modified", "mtime")


@dataclass(frozen=True)
class Listed:
    """An object.

    Attributes:
        path: in the file system of fsspec.
        name: of its local copy, from the folder of the copies: "people.csv", "pictures/cat/1.png".
        size: bytes.
        version: changes with the content: the ETag, where there is one.
    """

    path: str
    name: str
    size: int
    version: str


def list_objects(system: Any, path: str, url: str) -> list[Listed]:
    """The object at a URL, or all that lie below it, in order of name.

    Args:
        system: a file system of fsspec.
        path: of the URL, in it.
        url: for names and messages.

    Raises:
        UserError: there is nothing, or no right to see it; an object cannot be a file of this name here, or its
            provider does not tell its size, or when it changes.
    """
    top = last_name(url)
    with told(url):
        found = _infos(system, path)
        if not found:
            raise FileNotFoundError(path)
    objects = [
        _listed(below, top + (below.removeprefix(path) if below != path else ""), info, url)
        for below, info in sorted(found.items())
    ]
    _require_places(objects, url)
    return objects


def _infos(system: Any, path: str) -> dict[str, dict[str, Any]]:
    if "/" in path:
        info = system.info(path)
        if info["type"] == "file":
            return {path: info}
    below: dict[str, dict[str, Any]] = system.find(path, detail=True)
    # An empty object whose name ends with a slash stands for a folder.
    return {name: info for name, info in below.items() if info["type"] == "file" and not name.endswith("/")}


def _listed(path: str, name: str, info: dict[str, Any], url: str) -> Listed:
    version = next((str(info[key]).strip('"') for key in VERSIONS if info.get(key)), None)
    size = info.get("size")
    if version is None or size is None:
        raise UserError(f"{url} cannot be read: its server does not tell its size and when it changes; copy it here")
    return Listed(path, name, int(size), version)


def _require_places(objects: list[Listed], url: str) -> None:
    """Raises UserError: two objects would be one file, or one would leave its folder: keys are no paths."""
    names = {each.name for each in objects}
    for each in objects:
        parts = each.name.split("/")
        if any(part in ("", ".", "..") for part in parts) or any(ord(letter) < 32 for letter in each.name):
            raise UserError(f"{url} holds the object {each.name!r}, which cannot be the name of a file: rename it")
        above = next((above for length in range(1, len(parts)) if (above := "/".join(parts[:length])) in names), None)
        if above is not None:
            raise UserError(
                f"{url} holds both {above!r} and {each.name!r}, a file and a folder of one name: rename one"
            )
