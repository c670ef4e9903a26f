"""What a run did, in a few lines a person reads: for the terminal and for Prefect's page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from tasks.artifacts import read_json
from tasks.stage import read_timing
from tasks.workspace import Workspace

COLUMNS = ("Stage", "Outcome", "Seconds", "Examples/s", "Device")
NOTE = "Seconds, speed and device are those of the stage's last computation on this machine."


@dataclass(frozen=True)
class Summary:
    """A run in words.

    Attributes:
        rows: one for each stage, of the columns above.
        facts: what was found, as pairs of a name and a value.
    """

    rows: list[tuple[str, ...]]
    facts: list[tuple[str, str]]


def summarise(root: Path, outcomes: dict[str, str]) -> Summary:
    """Gather the outcome of every stage of a run, and the facts that those stages established."""
    workspace = Workspace(root)
    rows: list[tuple[str, ...]] = [(stage, outcome, *_timing(workspace, stage)) for stage, outcome in outcomes.items()]
    facts: list[tuple[str, str]] = []
    if "train" in outcomes:
        facts += _accuracy(_metrics(workspace.model_metrics))
    if "validate" in outcomes:
        facts += _trust(_metrics(workspace.validation_metrics))
    if "flag" in outcomes:
        facts += _flagged(_metrics(workspace.flag_metrics))
    if "report" in outcomes:
        facts += _drift(_metrics(workspace.report_metrics))
        facts += _planted(_metrics(workspace.report_metrics))
        if workspace.report.exists():
            facts.append(("Report", str(workspace.report.resolve())))
    return Summary(rows, facts)


def as_table(summary: Summary) -> Table:
    """For the terminal."""
    table = Table(caption=NOTE, caption_justify="left", caption_style="dim")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("Seconds", "Examples/s") else "left")
    for row in summary.rows:
        table.add_row(*map(Text, row))
    return table


def facts_table(summary: Summary) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in summary.facts:
        grid.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    return grid


def as_markdown(summary: Summary) -> str:
    """For Prefect's page."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(map(_escape, row)) + " |" for row in summary.rows]
    lines += ["", NOTE, ""]
    lines += [f"- **{name}**: {_escape(value)}" for name, value in summary.facts]
    return "\n".join(lines) + "\n"


def _timing(workspace: Workspace, stage: str) -> tuple[str, str, str]:
    timing: dict[str, Any] | None = read_timing(workspace, stage)
    if timing is None:
        return "", "", ""
    seconds, examples = float(timing["seconds"]), int(timing["examples"])
    rate = f"{examples / seconds:,.0f}" if seconds > 0 and examples else ""
    return f"{seconds:.1f}", rate, str(timing["device"] or "")


def _metrics(path: Path) -> dict[str, Any]:
    """Metrics of a stage; empty for a stage of the user's own that writes none."""
    return read_json(path) if path.exists() else {}


def _accuracy(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    shares = [
        f"{split} {metrics[split]['accuracy']:.1%}" for split in ("train", "validation", "test") if split in metrics
    ]
    return [("Accuracy", ", ".join(shares))] if shares else []


def _trust(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The verdict, with what speaks against relying on it."""
    if "verdict" not in metrics:
        return []
    warnings = [f"Warning: {warning}." for warning in metrics["warnings"]]
    return [("Trust", " ".join([metrics["verdict"], *warnings]))]


def _flagged(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    flagged, precision = metrics.get("flagged"), metrics.get("expected_precision")
    if not isinstance(flagged, int):
        return []
    expected = f", about {precision * flagged:,.0f} of them wrong ({precision:.0%})" if precision is not None else ""
    return [("Flagged for review", f"{flagged:,}{expected}")]


def _drift(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    return [("Drift", alert["words"]) for alert in metrics.get("drift", [])]


def _planted(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    planted, found = metrics.get("planted"), metrics.get("planted_flagged")
    if not planted or found is None:
        return []
    return [("Planted errors found", f"{found:,} of {planted:,} ({found / planted:.0%}) among those flagged")]


def _escape(text: str) -> str:
    """Text as markdown shows it literally."""
    return "".join(f"\\{character}" if character in "\\`*_[]<>|#" else character for character in text)
