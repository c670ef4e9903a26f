"""What a crash can leave behind in a workspace, or on the machine, and how to mend it. Looking changes nothing."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from tasks.artifacts import PART, read_json
from tasks.errors import UserError
from tasks.processes import identity, is_alive, is_orphan, living, lock_holders
from tasks.tensors import read_tensors
from tasks.workspace import Workspace

HALF_WRITTEN = re.compile(rf"^\..+\.(\d+)-[^.]+{re.escape(PART)}$")  # see tasks.artifacts.atomic_write
NOT_OURS = frozenset({".git", ".venv", "cache"})  # folders without anything that we write in place
PATIENCE = 10.0  # seconds between asking a process to end and killing it
LITTLE_SPACE = 2**30  # bytes


@dataclass(frozen=True)
class Finding:
    """Something that should not be so.

    Attributes:
        problem: what was found, and where.
        remedy: what mends it, in the imperative.
        mend: does that; None where a person has to.
    """

    problem: str
    remedy: str
    mend: Callable[[], object] | None = None


def examine(root: Path) -> Iterator[Finding]:
    """All that can be found without DVC."""
    for check in (half_written, orphans, damaged, space):
        yield from check(root)


def half_written(root: Path) -> Iterator[Finding]:
    """Files that a process began and did not live to rename. Nobody ever reads one."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        for name in names:
            found = HALF_WRITTEN.match(name)
            if found and identity(int(found[1])) is None:
                path = Path(folder) / name
                yield Finding(f"{path} was left half-written by process {found[1]}", "remove it", path.unlink)


def orphans(root: Path) -> Iterator[Finding]:
    """Stages of this workspace that go on without whoever started them, and those anywhere that keep a GPU."""
    slots = {
        holder: path.stem
        for path in sorted((Path(tempfile.gettempdir()) / "influence-slots").glob("*.lock"))
        for holder in lock_holders(path)
    }
    for process in living():
        stage = _stage(process.arguments)
        if stage is None or not is_orphan(process.number):
            continue
        if process.folder == root.resolve() or process.number in slots:
            holding = f", and holds {slots[process.number]}" if process.number in slots else ""
            problem = f"process {process.number} runs {stage} in {process.folder} though its parent has died{holding}"
            yield Finding(problem, "end it", partial(end, process.name))


def damaged(root: Path) -> Iterator[Finding]:
    """Artifacts that cannot be read. A kill leaves none: the disk, or somebody, has changed them since."""
    workspace = Workspace(root)
    folders = ("data/prepared", "model", "curvature", "scores", "flags", "validation", "report")
    readers = {".parquet": pq.read_metadata, ".safetensors": read_tensors, ".json": read_json}
    for path in sorted(path for name in folders for path in (workspace.root / name).glob("*")):
        reader = readers.get(path.suffix)
        if reader is None:
            continue
        try:
            reader(path)
        except (UserError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            yield Finding(f"{path} is damaged ({reason})", "remove it, so that the next run makes it anew", path.unlink)


def space(root: Path) -> Iterator[Finding]:
    """Whether the disk is all but full."""
    free = shutil.disk_usage(root).free
    if free < LITTLE_SPACE:
        yield Finding(
            f"only {free / 2**20:,.0f} MiB are free on the disk of {root}",
            "free some space: `dvc gc --workspace` drops what DVC keeps of earlier runs",
        )


def end(name: str) -> None:
    """End the process that `tasks.processes.identity` gave this name: asked first, then by force."""
    for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        deadline = time.monotonic() + patience
        while is_alive(name) and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(name.partition("-")[0]), number)
            time.sleep(0.05)


def _stage(arguments: list[str]) -> str | None:
    """The stage that a command line runs, as `python -I -m tasks.score` does."""
    for flag, module in itertools.pairwise(arguments):
        if flag == "-m" and module.startswith("tasks."):
            return module
    return None
