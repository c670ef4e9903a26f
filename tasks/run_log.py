"""The last runs of a workspace, as their journals tell them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks.journal import logs, read
from tasks.processes import is_alive
from tasks.workspace import Workspace


@dataclass
class StageRun:
    """What became of a stage in a run.

    Attributes:
        outcome: Completed, Unchanged, Restored or Failed; Running; Killed if its process ended without a word.
        seconds: from its start, or its turn in the flow, to its end; None where nobody could tell.
        shards: shards, or epochs, that were finished in this run.
        doing: the last it told of its progress, while it runs.
        reason: why it failed.
    """

    name: str
    outcome: str = "Running"
    seconds: float | None = None
    shards: int = 0
    doing: str | None = None
    reason: str | None = None


@dataclass
class Run:
    """A run: of the flow, or of `dvc repro`, whose name begins with `dvc-`.

    Attributes:
        run: Prefect's number of the flow run.
        name: Prefect's name for it; `dvc repro` where Prefect had no part.
        outcome: Completed, Failed, Running or Killed.
        seconds: from its first event to its last.
    """

    run: str
    name: str
    started: datetime
    outcome: str
    seconds: float
    stages: list[StageRun] = field(default_factory=list)


def last_runs(workspace: Workspace, count: int) -> list[Run]:
    """The last runs, newest first."""
    runs = [told for path in logs(workspace.work).glob("*.jsonl") if (told := _tell(read(path)))]
    return sorted(runs, key=lambda run: run.started, reverse=True)[:count]


def _tell(lines: list[dict[str, Any]]) -> Run | None:
    """A run from its events; None if there are none. A second attempt of a flow run counts, not those before."""
    starts = [place for place, line in enumerate(lines) if line["event"] == "run started"]
    lines = lines[starts[-1] :] if starts else lines
    if not lines:
        return None
    first = lines[0]
    stages: dict[str, StageRun] = {}
    processes: dict[str, str] = {}  # of the stages
    for line in lines:
        if line["stage"] is not None:
            stage = stages.setdefault(line["stage"], StageRun(line["stage"]))
            _tell_stage(stage, line)
            if line["event"] == "stage started":
                processes[stage.name] = line["process"]
    for stage in stages.values():
        if stage.outcome == "Running" and not is_alive(processes.get(stage.name, "")):
            stage.outcome = "Killed"
    ended = next((line for line in lines if line["event"] == "run ended"), None)
    started, last = datetime.fromisoformat(first["time"]), datetime.fromisoformat(lines[-1]["time"])
    seconds = ended["seconds"] if ended else (last - started).total_seconds()
    name = first["name"] if starts else "dvc repro"
    return Run(
        first["run"], name, started, _outcome(first, ended, list(stages.values())), seconds, list(stages.values())
    )


def _tell_stage(stage: StageRun, line: dict[str, Any]) -> None:
    match line["event"]:
        case "stage started":
            stage.outcome, stage.doing, stage.reason = "Running", None, None
        case "stage ended":
            stage.outcome, stage.seconds = "Completed", line["seconds"]
        case "stage failed":
            stage.outcome, stage.reason = "Failed", line["reason"]
        case "stage outcome":  # the flow's word is the last: it knows what DVC did
            stage.outcome, stage.seconds = line["outcome"], line["seconds"]
            stage.reason = line["reason"] or stage.reason
        case "shard finished" | "epoch finished":
            stage.shards += 1
        case "progress":
            stage.doing = f"{line['part']}: {line['done']:,} of {line['total']:,} {line['unit']}"


def _outcome(first: dict[str, Any], ended: dict[str, Any] | None, stages: list[StageRun]) -> str:
    if ended is not None:
        whole = ended["stopped"] is None and "Failed" not in ended["outcomes"].values()
        return "Completed" if whole else "Failed"
    if first["event"] == "run started":
        return "Running" if is_alive(first["process"]) else "Killed"
    outcomes = [stage.outcome for stage in stages]  # of `dvc repro`, which writes no word of its own
    return next((outcome for outcome in ("Running", "Failed", "Killed") if outcome in outcomes), "Completed")
