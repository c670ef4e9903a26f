"""URLs of data: which are read, and the file system that reads one."""

import importlib.util
from typing import Any

from tasks.errors import UserError
from tasks.object_storage.failures import told
from tasks.secrets import masked

MARK = "://"
# What both fsspec and DVC read under one name, and the modules that they need for it.
READERS = {
    "s3": ("s3fs", "dvc_s3"),
    "gs": ("gcsfs", "dvc_gs"),
    "http": ("aiohttp", "dvc_http"),
    "https": ("aiohttp", "dvc_http"),
}
EXTRAS = {"s3": "influence-pipeline[s3]"}  # that install them; the others' modules have the names of their packages


def is_url(path: str) -> bool:
    """Whether params.yaml names data by URL, not by a path of this machine."""
    return MARK in path


def require_sound(url: str) -> None:
    """Refuse what is no URL of data, before anything is asked of it. Nothing is connected to.

    Raises:
        UserError: it holds a user, a password or a key, which no message repeats; or nothing reads its scheme; or the
            package that does is not installed.
    """
    scheme, _, rest = url.partition(MARK)
    place = rest.partition("/")[0]
    is_web = scheme in ("http", "https")
    # A password may hold a slash; then all that is left of it in the first part is its colon.
    if "@" in place or (":" in place and not is_web) or masked(url) != url:
        raise UserError(
            "a URL of data holds a user, a password or a key, which git, dvc.lock and the artifacts would keep: leave "
            "it out; keys are read from the environment or the usual files of the provider"
        )
    if scheme not in READERS:
        known = ", ".join(f"{each}{MARK}" for each in READERS)
        raise UserError(f"{url}: data are read from a path or from {known}")
    if not place:
        raise UserError(f"{url}: name the bucket and the key, as {scheme}{MARK}bucket/key")
    missing = [module.replace("_", "-") for module in READERS[scheme] if importlib.util.find_spec(module) is None]
    if missing:
        wanted = EXTRAS.get(scheme, " ".join(missing))
        raise UserError(f"{url}: {' and '.join(missing)} must be installed to read it: pip install '{wanted}'")


def connect(url: str) -> tuple[Any, str]:
    """A file system of fsspec, and the path of the URL in it. Nothing is remembered of an earlier listing.

    Raises:
        UserError: see `require_sound`.
    """
    from fsspec.core import url_to_fs

    require_sound(url)
    with told(url):
        system, path = url_to_fs(url, use_listings_cache=False)
    return system, path.rstrip("/")


def last_name(url: str) -> str:
    """The name of the file or folder that a URL names: that of its local copy."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]


def folder(url: str) -> str:
    """The URL, or the path in a file system, of the folder that holds it."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[0]
