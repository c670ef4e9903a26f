"""Whether files are still those that were read, without reading them again."""

from collections.abc import Iterable
from pathlib import Path

from tasks.workspace import SPLITS, Workspace

Signature = tuple[tuple[int, int, int], ...]  # of every file: inode, time of change, size; files appear by renaming


def flags_signature(workspace: Workspace) -> Signature | None:
    """Of what the last stage before the report leaves and the queue is built on; None while one is missing."""
    return _signature([workspace.signals, workspace.flags, workspace.findings])


def data_signature(workspace: Workspace) -> Signature | None:
    """Of the prepared data; None while a part is missing."""
    return _signature([workspace.encoding, *(workspace.split(split) for split in SPLITS)])


def verdicts_signature(workspace: Workspace) -> Signature | None:
    """Of what everybody has said; None where nobody said anything."""
    return _signature([workspace.verdicts])


def _signature(paths: Iterable[Path]) -> Signature | None:
    try:
        found = [path.stat() for path in paths]
    except FileNotFoundError:
        return None
    return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)
