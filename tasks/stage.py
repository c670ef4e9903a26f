"""What every stage does around its own work: one at a time, dying with its parent, errors as sentences, timings."""

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from tasks import disk, journal
from tasks.artifacts import PACKAGE, read_json, write_json
from tasks.errors import UserError
from tasks.objects import add_import_paths
from tasks.parameters import Parameters, load_parameters
from tasks.workspace import Workspace

StageFunction = Callable[[Workspace, Parameters], "Work"]


class Work:
    """What a stage has to say of itself: how many examples it handled, and on which device."""

    def __init__(self, examples: int, device: str | None = None) -> None:
        self.examples, self.device = examples, device


def main(stage: str, function: StageFunction) -> None:
    """Run a stage in the current folder and exit: 0, or 1 with the reason on standard error."""
    die_with_parent()
    workspace = Workspace(Path())
    try:
        add_import_paths(workspace.root)
        parameters = load_parameters(workspace.parameters)
        check_version(parameters)
        with (
            disk.told(),
            exclusive(workspace.work / f"{stage}.lock", stage),
            journal.stage_journal(workspace.work, stage),
        ):
            start = time.monotonic()
            work = function(workspace, parameters)
            _record(workspace, stage, work, time.monotonic() - start)
    except UserError as error:
        print(f"{stage}: {error}", file=sys.stderr)
        sys.exit(1)


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, so that no orphan keeps writing (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def check_version(parameters: Parameters) -> None:
    """Make sure that the workspace was made for the installed version.

    Raises:
        UserError: it was made for another.
    """
    installed = version(PACKAGE)
    if parameters.package not in (None, installed):
        raise UserError(
            f"params.yaml was written for {PACKAGE} {parameters.package}, but {installed} is installed: "
            f"set `package: {installed}` (every stage reruns) or install {parameters.package}"
        )


@contextlib.contextmanager
def exclusive(path: Path, stage: str) -> Iterator[None]:
    """Only one process at a time runs a stage of a workspace; the kernel frees the lock when it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{stage}: another process is running this stage here; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _record(workspace: Workspace, stage: str, work: Work, seconds: float) -> None:
    rate = work.examples / max(seconds, 1e-9)
    where = f" on {work.device}" if work.device else ""
    print(f"{stage}: {work.examples:,} examples in {seconds:.1f} s ({rate:,.0f} examples/s){where}", flush=True)
    timing = {"examples": work.examples, "seconds": seconds, "device": work.device, "process": os.getpid()}
    write_json(workspace.work / "timings" / f"{stage}.json", timing)
    journal.record("stage ended", **timing)


def read_timing(workspace: Workspace, stage: str) -> dict[str, object] | None:
    """Timing of a stage's last run on this machine; None if it never ran here."""
    path = workspace.work / "timings" / f"{stage}.json"
    return read_json(path) if path.exists() else None
