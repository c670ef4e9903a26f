"""The queue and the verdicts as CSV, for a spreadsheet: a row for each open question, and one for each verdict."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tasks.artifacts import write_text
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.exchange.answers import Reply
from tasks.reviews.exchange.shown import load_shown
from tasks.reviews.queue import Item, build, ground_holds
from tasks.reviews.settling import settle
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

REQUIRED = ("example_id", "verdict", "new_label", "reviewer")
ABOUT = ("given_label", "suggested_label", "error_probability", "rank", "kind", "reason", "content")
COLUMNS = (*REQUIRED, *ABOUT, "state", "split", "text")
TEXT_LIMIT = 2000  # characters; a spreadsheet's cell holds 32,767
# What a spreadsheet runs as a formula, or takes for a number and writes otherwise; with one quote more it does not.
CHANGED_BY_A_SPREADSHEET = re.compile(r"'*(?:[=+\-@\t\r\n]|(?:0\d+|\d{12,}|\d+[eE]\d+)$)")


def write(workspace: Workspace, path: Path) -> int:
    """Write every question that is not settled, to be answered in its row, and every verdict that counts.

    Returns:
        how many questions are to be answered.

    Raises:
        UserError: there are no flags yet.
    """
    verdicts = store.read(workspace)
    items = build(workspace, {verdict.example_id for verdict in verdicts})
    shown = load_shown(workspace, {item.example_id for item in items})
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    questions = 0
    for item in items:
        display = (shown[item.example_id].display or "")[:TEXT_LIMIT]
        place = {"state": item.state, "split": item.split, "text": display}
        given = settle(verdict for verdict in item.verdicts if ground_holds(item, verdict)).get(item.example_id)
        for verdict in given.counted if given else []:
            writer.writerow(_row(verdict, verdict) | _safe(place))
        if item.asked and item.state != "settled":
            questions += 1
            writer.writerow(_row(item, None) | _safe(place))
    there = {item.example_id for item in items}
    for example_id, settled in settle(verdicts).items():
        if example_id not in there:  # a verdict took it out
            for verdict in settled.counted:
                writer.writerow(_row(verdict, verdict))
    write_text(path, "\ufeff" + text.getvalue())  # the mark tells a spreadsheet that this is UTF-8
    return questions


def read(path: Path) -> list[Reply]:
    """The rows that hold an answer. `example_id` and `verdict` must be there; other columns may be left out or added.

    Raises:
        UserError: the file is no such CSV file.
    """
    try:
        return list(_replies(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8 ({error}): save it as one") from None


def _replies(path: Path) -> Iterator[Reply]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        missing = [name for name in REQUIRED[:2] if name not in (rows.fieldnames or [])]
        if missing:
            raise UserError(f"{path} has no column {' and no column '.join(missing)}: export it again")
        for number, row in enumerate(rows, 2):  # a spreadsheet counts the header as row 1
            values = {name: unescaped(value) for name, value in row.items() if isinstance(value, str) and value}
            if "verdict" not in values and "new_label" not in values:
                continue  # not answered
            yield Reply(
                where=f"row {number}",
                example_id=values.get("example_id", ""),
                verdict=values.get("verdict", "").strip().lower(),
                new_label=values.get("new_label"),
                reviewer=values.get("reviewer"),
                content=values.get("content"),
                given_label=values.get("given_label"),
            )


def escaped(value: str) -> str:
    """A value that a spreadsheet leaves as it is, also where it would run it as a formula or take it for a number."""
    return f"'{value}" if CHANGED_BY_A_SPREADSHEET.match(value) else value


def unescaped(value: str) -> str:
    """What `escaped` was given."""
    return value[1:] if value.startswith("'") and CHANGED_BY_A_SPREADSHEET.match(value) else value


def _row(ground: Item | Verdict, verdict: Verdict | None) -> dict[str, str]:
    answer = [verdict.verdict, verdict.new_label, verdict.reviewer] if verdict else [None, None, None]
    about = [getattr(ground, name) for name in ABOUT]
    return _safe(dict(zip((*REQUIRED, *ABOUT), (ground.example_id, *answer, *about), strict=True)))


def _safe(row: Mapping[str, object]) -> dict[str, str]:
    return {name: "" if value is None else escaped(_text(value)) for name, value in row.items()}


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
