"""What happened, as lines of JSON: a file a run in .work/logs, for `influence status` and for tools that read logs.

Every line has time, run, stage, shard and event; what else it has depends on the event. Nothing here is ever read by a
stage, and a log that cannot be written stops nobody's work.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.processes import identity

FOLDER = "INFLUENCE_LOGS"  # environment: another folder than .work/logs
RUN = "INFLUENCE_RUN"  # environment: the run that a stage is part of, where a flow started it
KEPT = 200  # runs

_shard: ContextVar[str | None] = ContextVar("shard", default=None)
_journal: "Journal | None" = None  # of this process, while it runs a stage


class Journal:
    """The log of one run.

    Args:
        work: the workspace's folder for unfinished work.
        run: what to call the run.
        stage: whose events these are, unless `record` is told otherwise.
    """

    def __init__(self, work: Path, run: str, stage: str | None = None) -> None:
        self.run, self.stage = run, stage
        self.path = logs(work) / f"{run}.jsonl"

    def record(self, event: str, stage: str | None = None, shard: str | None = None, **details: Any) -> None:
        """Append one line. A line is written at once, so that those of several processes do not mix."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "run": self.run, "stage": stage or self.stage, "shard": shard, "event": event, **details}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(descriptor, (json.dumps(line, default=str) + "\n").encode())
            finally:
                os.close(descriptor)


def logs(work: Path) -> Path:
    """Where the logs of a workspace lie."""
    return Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else work / "logs"


@contextlib.contextmanager
def stage_journal(work: Path, stage: str) -> Iterator[None]:
    """What `record` is told meanwhile, it writes down as this stage's. A stage outside a flow is part of dvc's run."""
    global _journal
    _journal = Journal(work, os.environ.get(RUN) or f"dvc-{identity(os.getppid())}", stage)
    prune(_journal.path.parent)
    record("stage started", process=identity(os.getpid()))
    try:
        yield
    except BaseException as error:
        record("stage failed", reason=str(error) or type(error).__name__)
        raise
    finally:
        _journal = None


def record(event: str, **details: Any) -> None:
    """Write an event of this process's stage down, with the shard at work; does nothing outside `stage_journal`."""
    if _journal is not None:
        _journal.record(event, shard=_shard.get(), **details)


@contextlib.contextmanager
def shard(name: str) -> Iterator[None]:
    """Meanwhile, this thread works on this shard."""
    token = _shard.set(name)
    try:
        yield
    finally:
        _shard.reset(token)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log. One that a full disk cut short is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and "event" in line:
                lines.append(line)
    return lines


def prune(folder: Path) -> None:
    """Remove all but the newest logs."""
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[KEPT:]:
            path.unlink(missing_ok=True)
