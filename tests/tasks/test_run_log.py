"""The last runs, told from their journals."""

import json
import os
from pathlib import Path
from typing import Any

from tasks.processes import identity
from tasks.run_log import last_runs
from tasks.workspace import Workspace

ME = identity(os.getpid())
DEAD = "999999999-1"


def write(root: Path, run: str, *events: dict[str, Any]) -> None:
    folder = root / ".work/logs"
    folder.mkdir(parents=True, exist_ok=True)
    common = {"time": "2026-01-01T10:00:00.000+00:00", "run": run, "stage": None, "shard": None}
    lines = [json.dumps({**common, **event}) for event in events]
    (folder / f"{run}.jsonl").write_text("\n".join(lines) + "\n")


def started(process: str | None, time: str = "2026-01-01T10:00:00.000+00:00") -> dict[str, Any]:
    return {"event": "run started", "name": "grey-fox", "process": process, "time": time}


def ended(stopped: str | None = None, **outcomes: str) -> dict[str, Any]:
    return {"event": "run ended", "seconds": 7.5, "outcomes": outcomes, "stopped": stopped}


def outcome(stage: str, outcome: str, reason: str | None = None) -> dict[str, Any]:
    return {"event": "stage outcome", "stage": stage, "outcome": outcome, "seconds": 2.0, "reason": reason}


def test_a_run_that_ended_well(tmp_path: Path) -> None:
    write(
        tmp_path,
        "r1",
        started(DEAD),
        outcome("prepare", "Unchanged"),
        {"event": "stage started", "stage": "score", "process": DEAD},
        {"event": "shard finished", "stage": "score", "shard": "0000", "seconds": 1.0},
        {"event": "shard finished", "stage": "score", "shard": "0001", "seconds": 1.0},
        {"event": "stage ended", "stage": "score", "seconds": 1.5},
        outcome("score", "Completed"),
        ended(prepare="Unchanged", score="Completed"),
    )
    (run,) = last_runs(Workspace(tmp_path), 5)
    assert (run.run, run.name, run.outcome, run.seconds) == ("r1", "grey-fox", "Completed", 7.5)
    assert [(stage.name, stage.outcome, stage.shards) for stage in run.stages] == [
        ("prepare", "Unchanged", 0),
        ("score", "Completed", 2),
    ]


def test_a_failure_a_kill_and_one_that_goes_on(tmp_path: Path) -> None:
    progress = {"event": "progress", "stage": "score", "part": "score", "done": 10, "total": 20, "unit": "examples"}
    write(tmp_path, "failed", started(DEAD), outcome("train", "Failed", "train: too hot"), ended(train="Failed"))
    write(tmp_path, "killed", started(DEAD), {"event": "stage started", "stage": "score", "process": DEAD}, progress)
    write(tmp_path, "alive", started(ME), {"event": "stage started", "stage": "score", "process": ME}, progress)
    write(tmp_path, "stopped", started(DEAD), ended("KeyboardInterrupt"))
    runs = {run.run: run for run in last_runs(Workspace(tmp_path), 5)}
    assert {name: run.outcome for name, run in runs.items()} == {
        "failed": "Failed",
        "killed": "Killed",
        "alive": "Running",
        "stopped": "Failed",
    }
    assert runs["failed"].stages[0].reason == "train: too hot"
    assert runs["killed"].stages[0].outcome == "Killed"
    assert (runs["alive"].stages[0].outcome, runs["alive"].stages[0].doing) == (
        "Running",
        "score: 10 of 20 examples",
    )


def test_dvc_repro_writes_no_word_of_its_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        "dvc-4711-1",
        {"event": "stage started", "stage": "train", "process": DEAD},
        {"event": "stage failed", "stage": "train", "reason": "train: too hot"},
    )
    (run,) = last_runs(Workspace(tmp_path), 5)
    assert (run.name, run.outcome, run.stages[0].reason) == ("dvc repro", "Failed", "train: too hot")


def test_the_newest_come_first_and_the_last_attempt_counts(tmp_path: Path) -> None:
    again = started(DEAD, "2026-01-01T12:00:00.000+00:00")
    write(tmp_path, "tried-again", started(DEAD), outcome("train", "Failed", "busy"), again, ended(train="Completed"))
    write(tmp_path, "older", started(DEAD, "2026-01-01T11:00:00.000+00:00"), ended())
    write(tmp_path, "oldest", started(DEAD, "2025-01-01T11:00:00.000+00:00"), ended())
    write(tmp_path, "empty")
    runs = last_runs(Workspace(tmp_path), 2)
    assert [run.run for run in runs] == ["tried-again", "older"]
    assert runs[0].outcome == "Completed"


def test_where_nothing_has_run_there_is_nothing(tmp_path: Path) -> None:
    assert last_runs(Workspace(tmp_path), 5) == []
