"""Which code computes: work left by a killed run is met again only by the code that began it."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

import influence
from tasks.artifacts import PACKAGE


@cache
def code_identity() -> list[str]:
    """Versions of this package and of torch, and a hash of the mathematics: checkouts change within a version."""
    folder = Path(influence.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return [version(PACKAGE), torch.__version__, digest.hexdigest()]
