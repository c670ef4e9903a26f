"""`influence verdicts`: the questions of a review as a file, the answers back, and what has been said so far."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.errors import UserError
from tasks.reviews.settling import agreement, settle
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

Format = Literal["csv", "label-studio"]
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # what a terminal would obey

verdicts = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Questions of a review and their answers, as files and as a list."
)


@verdicts.command("export")
def export_questions(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write them.")],
    form: Annotated[
        Format | None, typer.Option("--format", help="csv or label-studio; without it, by the file's ending.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file, and the answers in it.")] = False,
) -> None:
    """Write every open question to a file: CSV, or tasks of Label Studio with their labelling configuration.

    \b
    influence verdicts export queue.csv
    influence verdicts export tasks.json --format label-studio
    """
    from tasks.reviews.exchange import csv_file, label_studio

    chosen = _form(file, form)
    written = [file, *([file.with_suffix(".xml")] if chosen == "label-studio" else [])]
    there = [str(path) for path in written if path.exists()]
    if there and not force:
        raise UserError(f"{' and '.join(there)} would be overwritten: add --force if that is meant")
    count = {"csv": csv_file.write, "label-studio": label_studio.write}[chosen](Workspace(Path()), file)
    print(f"{count:,} questions in {file}" + (f", to be shown by {written[1]}" if len(written) > 1 else ""))
    print(f"Answered, bring it back: influence verdicts import {file}")


@verdicts.command("import")
def import_answers(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, or an export of Label Studio as JSON.")],
    reviewer: Annotated[str | None, typer.Option(help="Who gave the answers that name nobody.")] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="csv or label-studio; without it, by the file's ending.")
    ] = None,
) -> None:
    """Add the answers of a file to the verdicts, all or, where one is wrong, none. Twice adds nothing.

    CSV needs the columns example_id and verdict (keep, relabel, drop, unsure, or withdrawn to take one back), and may
    have new_label and reviewer.

    \b
    influence verdicts import queue.csv --reviewer ann
    influence verdicts import project-1.json
    """
    from tasks.reviews.exchange import csv_file, label_studio
    from tasks.reviews.exchange.answers import bring

    replies = {"csv": csv_file.read, "label-studio": label_studio.read}[_form(file, form)](file)
    added = bring(Workspace(Path()), file, replies, reviewer)
    print(f"{added:,} verdicts added; {len(replies) - added:,} of {len(replies):,} answers are known or outdated")
    if added:
        print("They are applied by the next `influence run`.")


@verdicts.command("list")
def list_verdicts() -> None:
    """Say what counts of the verdicts so far, and what the last run made of each.

    \b
    influence verdicts list
    """
    from tasks.artifacts import read_table
    from tasks.reviews import store

    workspace = Workspace(Path())
    if not workspace.verdicts.exists():
        raise UserError(f"there is no {workspace.verdicts} here: `influence init` makes a workspace with one")
    applied = workspace.applied_verdicts
    rows = read_table(applied).to_pylist() if applied.exists() else []
    outcomes = {row["example_id"]: row["outcome"] for row in rows}
    print_verdicts(store.read(workspace), outcomes, Console(highlight=False))


@verdicts.command("begin")
def begin() -> None:
    """Write a file without verdicts where there is none: runs depend on it.

    \b
    influence verdicts begin
    """
    from tasks.reviews import store

    workspace = Workspace(Path())
    if not workspace.parameters.exists():
        raise UserError("there is no params.yaml here: `influence init` makes a workspace, with a file for verdicts")
    store.create(workspace)
    print(f"{len(store.read(workspace)):,} verdicts in {workspace.verdicts}")


def print_verdicts(given: list[Verdict], outcomes: dict[str, str], console: Console) -> None:
    """What counts, and a line for each verdict that does; `outcomes` are what the last run made of it, by example."""
    settled = settle(given)
    states = Counter(one.state for one in settled.values())
    counts = ", ".join(f"{states[state]:,} {state}" for state in ("settled", "contested", "unsure"))
    reviewers = {verdict.reviewer for one in settled.values() for verdict in one.counted}
    console.print(f"{len(settled):,} examples judged by {len(reviewers):,} reviewers: {counts}.")
    share, several = agreement(given)
    if share is not None:
        console.print(f"On {share:.0%} of the {several:,} examples that two or more decided, all agree.")
    if not settled:
        return
    table = Table()
    table.add_column("Example", overflow="fold")
    for name in ("Given label", "Verdict", "Reviewer", "When (UTC)", "State", "Last run"):
        table.add_column(name)
    for example_id, one in settled.items():
        for verdict in one.counted:
            what = f"relabel to {verdict.new_label}" if verdict.new_label else verdict.verdict
            when = f"{verdict.time:%Y-%m-%d %H:%M}"
            outcome = outcomes.get(example_id, "not yet applied")
            cells = (example_id, verdict.given_label, what, verdict.reviewer, when, one.state, outcome)
            table.add_row(*(Text(CONTROL.sub("\ufffd", cell)) for cell in cells))
    console.print(table)


def _form(file: Path, form: Format | None) -> Format:
    return form or ("label-studio" if file.suffix == ".json" else "csv")
