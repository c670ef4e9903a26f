"""One run of a workspace at a time, whichever door it came through."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import UserError
from tasks.workspace import Workspace


class WorkspaceBusy(UserError):  # noqa: N818 (what was met, not what kind of exception it is)
    """Another run is at work in the workspace."""


@contextlib.contextmanager
def only_run(root: Path) -> Iterator[None]:
    """Hold the workspace's lock, which the kernel frees however this process ends. A slot of Prefect's would not do:
    it stays taken for minutes after a kill, and knows nothing of `influence run` without a server.

    Raises:
        WorkspaceBusy: another run holds it.
    """
    path = Workspace(root).work / "run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise WorkspaceBusy(
                f"another run is at work in {root} (process {file.read().strip() or 'unknown'}): "
                "wait for its end, or cancel it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
