"""Reproduce one stage with `dvc repro`, as a child process whose lines are passed on while it runs."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from flows.dvc_graph import mend_lock
from flows.lifeline import Child

Outcome = Literal["Completed", "Unchanged", "Restored"]
TAIL = 20  # lines kept to tell why a stage failed

# What `dvc repro` prints; tests hold it to that.
RUNNING = "Running stage"
RESTORED = "is cached - skipping run"
BUSY = ("is busy, it is being blocked", "Unable to acquire lock")
DVC_ERROR = "ERROR: "
UNEXPECTED = "unexpected error - "  # what DVC calls an answer of object storage
PREFECT_LOG = re.compile(r"\d\d:\d\d:\d\d\.\d+ \| [A-Z]+ ")  # may come last where a stage shows its shards


class StageFailed(Exception):  # noqa: N818 (what happened, not what kind of exception it is)
    """A stage could not be reproduced; the message is its own last sentence."""


class StageBusy(StageFailed):
    """Another process works on the same files: worth another try."""


def reproduce(
    stage: str, root: Path, say: Callable[[str], None], force: bool = False, extra: Mapping[str, str] | None = None
) -> Outcome:
    """Bring one stage up to date, as `dvc repro --single-item` does.

    Args:
        stage: its name in dvc.yaml.
        root: the workspace.
        say: called with every line that DVC and the stage print.
        force: run it even where nothing has changed.
        extra: environment variables for the stage.

    Returns:
        Completed if the stage ran, Restored if its outputs came from DVC's cache, else Unchanged.

    Raises:
        StageBusy: another process holds the stage's files.
        StageFailed: the stage failed.
    """
    if mend_lock(root):
        say("a half-written .dvc/tmp/rwlock, left by a process that was killed, was removed")
    outcome: Outcome = "Unchanged"
    tail: list[str] = []
    options = ["--force"] if force else []
    command = ["dvc", "repro", "--single-item", *options, stage]
    with Child(command, root, {**stage_environment(), **(extra or {})}) as child:
        assert child.process.stdout is not None
        for line in child.process.stdout:
            line = line.rstrip()
            if not line:
                continue
            if line.startswith(RUNNING):
                outcome = "Completed"
            elif RESTORED in line:
                outcome = "Restored"
            tail = [*tail, line][-TAIL:]
            say(line)
        code = child.process.wait()
    if code:
        busy = any(sign in line for line in tail for sign in BUSY)
        raise (StageBusy if busy else StageFailed)(_reason(stage, tail, code))
    return outcome


def push(root: Path, say: Callable[[str], None]) -> None:
    """Upload the outputs to the workspace's DVC remote.

    Raises:
        StageFailed: DVC could not.
    """
    tail: list[str] = []
    with Child(["dvc", "push"], root, stage_environment()) as child:
        assert child.process.stdout is not None
        for line in filter(None, map(str.rstrip, child.process.stdout)):
            tail = [*tail, line][-TAIL:]
            say(line)
        code = child.process.wait()
    if code:
        reason = _reason("push", tail, code)
        first = next((_said(line) for line in tail if line.startswith(DVC_ERROR)), "")
        raise StageFailed(reason if first in reason else f"{reason}: {first}")  # the last only counts the files


def stage_environment() -> dict[str, str]:
    """This process's environment, with this Python first on PATH: the commands in dvc.yaml call it `python`."""
    paths = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    return {**os.environ, "PATH": os.pathsep.join(paths)}


def _reason(stage: str, tail: list[str], code: int) -> str:
    """The stage's own sentence; else what DVC says; else the last lines."""
    own = [line for line in tail if line.startswith(f"{stage}: ")]
    failed_to_run = any("failed to run" in line for line in tail)
    if own and failed_to_run:
        return own[-1]
    said = [_said(line) for line in tail if line.startswith(DVC_ERROR)]
    others = [line for line in tail if not line.startswith((DVC_ERROR, ">", RUNNING))]
    before = [line for line in others if not PREFECT_LOG.match(line)]
    if failed_to_run and before:
        return f"{stage}: {before[-1]}"
    return f"{stage}: {said[-1] if said else f'dvc ended with exit code {code}'}"


def _said(line: str) -> str:
    return line.removeprefix(DVC_ERROR).removeprefix(UNEXPECTED)
