"""Which process is which, who holds a lock, and who goes on without its parent. What Linux tells in /proc."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A living process: its number, its name (see `identity`), its command line and its working directory."""

    number: int
    name: str
    arguments: list[str]
    folder: Path


def identity(process: int) -> str | None:
    """A name for a living process that no later one bears; None for one that has ended, or waits to be buried.

    On Linux the time of its start is part of the name, in ticks since the machine's: no clock that jumps disturbs it.
    """
    try:
        after_name = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if (PROC / "self/stat").exists() or not _answers(process) else str(process)
    except (ProcessLookupError, PermissionError):
        return None
    state, start = after_name[0], after_name[19]  # fields 3 and 22 of proc(5)
    return None if state in "ZX" else f"{process}-{start}"


def is_alive(name: str) -> bool:
    """Whether the process that `identity` gave this name still lives."""
    number = name.partition("-")[0]
    return number.isdigit() and identity(int(number)) == name


def living() -> Iterator[Process]:
    """The processes of this user whose command line and folder can be seen; none where there is no /proc."""
    for folder in PROC.glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            working = (folder / "cwd").readlink()
        except OSError:
            continue
        name = identity(int(folder.name))
        if name is not None:
            yield Process(int(folder.name), name, arguments, working)


def is_orphan(process: int) -> bool:
    """Whether the process was handed to another parent because its own has died.

    Stages never leave the session of whoever started them, and the parent that orphans are given is of another.
    """
    try:
        parent = int((PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
        return parent != 0 and os.getsid(parent) != os.getsid(process)
    except (OSError, ValueError):
        return False


def lock_holders(path: Path) -> list[int]:
    """The processes that hold a `flock` of this file, as far as this user may know."""
    try:
        inode = path.stat().st_ino
        lines = (PROC / "locks").read_text().splitlines()
    except OSError:
        return []
    # e.g. `3: FLOCK  ADVISORY  WRITE 4711 08:01:131074 0 EOF`; the lines of those who wait have an arrow
    fields = [line.split() for line in lines if "->" not in line]
    return [int(field[4]) for field in fields if field[1] == "FLOCK" and field[5].rpartition(":")[2] == str(inode)]


def _answers(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
