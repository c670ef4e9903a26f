"""`influence trust`: how far the scores of the last run can be trusted, and what that was measured on."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.workspace import Workspace

TITLES = {
    "influence": "Influence (the scores of this run)",
    "gradient_product": "Gradient product",
    "similarity": "Similarity of features",
}


def trust() -> None:
    """Say how far the scores of the last run can be trusted.

    \b
    influence trust
    """
    from tasks.artifacts import read_json  # not above: --help must be there at once

    print_trust(read_json(Workspace(Path()).validation_metrics), Console(highlight=False))


def print_trust(found: dict[str, Any], console: Console) -> None:
    """The verdict, its warnings, and the measurements of validation/metrics.json behind it."""
    console.print(Text(found["verdict"]))
    for warning in found["warnings"]:
        console.print(Text(f"Warning: {warning}.", style="bold"))
    if "scores" in found:
        console.print(_measurements(found))
    solver = found["solver"]
    console.print(
        f"Solver: {solver['converged']} of {found['queries']} queries solved to the tolerance, relative residual "
        f"{solver['median_residual']:.2g} in the median and {solver['largest_residual']:.2g} at most, damping "
        f"{solver['damping']:.3g}."
    )


def _measurements(found: dict[str, Any]) -> Table:
    table = Table(title=Text(found["method"].capitalize()), title_justify="left")
    table.add_column("Method")
    for name in ("Correlation", "95 % interval", "Influence above it by", "95 % interval"):
        table.add_column(name, justify="right")
    for name, title in TITLES.items():
        above = _numbers(found["above"].get(name))
        table.add_row(title, *_numbers(found["scores"][name]), *above)
    if found.get("ceiling"):
        table.add_row("Ceiling: retraining against itself", *_numbers(found["ceiling"]), "", "")
    return table


def _numbers(estimate: dict[str, float] | None) -> tuple[str, str]:
    if estimate is None:
        return "", ""
    return f"{estimate['value']:.2f}", f"{estimate['low']:.2f} to {estimate['high']:.2f}"
