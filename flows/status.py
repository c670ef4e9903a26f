"""`influence status`: what ran, what runs, and what came of it."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer


def status(
    runs: Annotated[int, typer.Option(min=1, help="How many runs to tell of.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="For another program to read.")] = False,
) -> None:
    """Tell of the last runs, the stages of the last one, what it found, and the disk.

    \b
    influence status
    influence status --runs 20
    influence status --json
    """
    from tasks.disk_use import disk_use
    from tasks.run_log import last_runs
    from tasks.workspace import Workspace

    root = Path.cwd()
    told, used = last_runs(Workspace(root), runs), disk_use(root)
    if as_json:
        print(json.dumps({"runs": [asdict(run) for run in told], "facts": _facts(root), "disk": used}, default=str))
    else:
        _print(root, told, used)


def _print(root: Path, told: list[Any], used: dict[str, int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not told:
        console.print("Nothing has run here yet: start with `influence run`.")
    else:
        table = Table(title="Last runs", title_justify="left")
        for name in ("Started", "Run", "Outcome", "Seconds", "Stages"):
            table.add_column(name, justify="right" if name == "Seconds" else "left", overflow="fold")
        for run in told:
            texts = (_ago(run.started), run.name, run.outcome, f"{run.seconds:.0f}", _in_short(run.stages))
            table.add_row(*map(Text, texts))
        console.print(table)
        last = told[0]
        table = Table(title=Text(f"Stages of {last.name} ({last.run})"), title_justify="left")
        for name in ("Stage", "Outcome", "Seconds", "Shards", ""):
            table.add_column(name, justify="right" if name in ("Seconds", "Shards") else "left", overflow="fold")
        for stage in last.stages:
            seconds = "" if stage.seconds is None else f"{stage.seconds:.1f}"
            doing = stage.reason or (stage.doing if stage.outcome == "Running" else None) or ""
            table.add_row(*map(Text, (stage.name, stage.outcome, seconds, str(stage.shards or ""), doing)))
        console.print(table)
    grid = Table.grid(padding=(0, 2))
    disk = "; ".join(f"{title} {_bytes(size)}" for title, size in used.items())
    for name, value in [*_facts(root).items(), ("Disk", disk)]:
        grid.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    console.print(grid)


def _facts(root: Path) -> dict[str, str]:
    """What the artifacts say now."""
    from flows.summary import summarise
    from tasks.workspace import Workspace

    written = {"train": Workspace(root).model_metrics, "validate": Workspace(root).validation_metrics}
    written |= {"flag": Workspace(root).flag_metrics, "report": Workspace(root).report_metrics}
    return dict(summarise(root, {stage: "" for stage, path in written.items() if path.exists()}).facts)


def _in_short(stages: list[Any]) -> str:
    outcomes = [stage.outcome for stage in stages]
    return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))


def _ago(time: datetime) -> str:
    seconds = (datetime.now(UTC) - time).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := int(seconds // length)) > 0:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _bytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
