"""A run of the flow, written into the journal: what `influence status` tells of it afterwards, and while it goes on."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.journal import RUN, Journal
from tasks.processes import identity
from tasks.workspace import Workspace


class Recording:
    """Writes down how the stages of a run came out, one after the other."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.outcomes = journal, dict[str, str]()
        self._last = time.monotonic()

    def outcome(self, stage: str, outcome: str, message: str | None) -> None:
        """A stage is done with, also one that had nothing to do; its time is what passed since the one before."""
        now = time.monotonic()
        reason = message if outcome == "Failed" else None
        self.journal.record("stage outcome", stage, outcome=outcome, seconds=now - self._last, reason=reason)
        self.outcomes[stage] = outcome
        self._last = now


@contextlib.contextmanager
def recorded(root: Path, targets: list[str] | None, force: bool) -> Iterator[Recording]:
    """Write down when this flow run starts, how its stages come out, and how it ends."""
    from prefect.runtime import flow_run

    journal, start = Journal(Workspace(root).work, _run()), time.monotonic()
    journal.record("run started", name=flow_run.name, process=identity(os.getpid()), targets=targets, force=force)
    recording, stopped = Recording(journal), None
    try:
        yield recording
    except BaseException as error:
        stopped = str(error) or type(error).__name__
        raise
    finally:
        seconds = time.monotonic() - start
        journal.record("run ended", seconds=seconds, outcomes=recording.outcomes, stopped=stopped)


def run_environment() -> dict[str, str]:
    """Tells a stage which run it is part of."""
    return {RUN: _run()}


def _run() -> str:
    """Prefect's number of the flow run: what its page shows, and its API takes."""
    from prefect.runtime import flow_run

    return str(flow_run.id or identity(os.getpid()))
