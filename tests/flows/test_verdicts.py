"""`influence verdicts`: what it prints, and a file's way out and back."""

import contextlib
import csv
import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.verdicts import print_verdicts, verdicts
from tasks.artifacts import (
    FINDINGS,
    FLAGS,
    SIGNAL_NAMES,
    SIGNALS,
    SPARSE,
    Encoding,
    prepared_schema,
    write_json,
    write_table,
)
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.verdict import Verdict
from tasks.workspace import SPLITS, Workspace

Influence = Callable[..., subprocess.CompletedProcess[str]]


def command(root: Path, *arguments: str) -> str:
    """What `influence verdicts ...` prints in this folder; raises what it raises."""
    with contextlib.chdir(root):
        return CliRunner().invoke(verdicts, arguments, catch_exceptions=False).stdout


def said(example_id: str, verdict: str, reviewer: str = "ann", new_label: str | None = None) -> Verdict:
    time = datetime(2026, 1, 2, 12, tzinfo=UTC)
    return Verdict(example_id, verdict, new_label, reviewer, time, "run", "label", "c", "cat")  # type: ignore[arg-type]


def printed(given: list[Verdict], outcomes: dict[str, str]) -> str:
    console = Console(width=160, record=True)
    print_verdicts(given, outcomes, console)
    return console.export_text()


def test_what_counts_is_listed_with_what_the_last_run_made_of_it() -> None:
    given = [
        said("a", "drop"),
        said("a", "relabel", new_label="[dog]"),
        said("b", "keep"),
        said("b", "drop", "bob"),
        said("c", "unsure"),
        said("\x1b[31md", "keep"),
        said("\x1b[31md", "keep", "bob"),
    ]
    text = printed(given, {"a": "applied", "b": "contested"})
    assert "4 examples judged by 2 reviewers: 2 settled, 1 contested, 1 unsure." in text
    assert "On 50% of the 2 examples that two or more decided, all agree." in text
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert len(rows) == 6 and "\x1b" not in text
    assert "relabel to [dog]" in rows[0] and "applied" in rows[0] and "not yet applied" in rows[-1]
    assert "0 examples judged" in printed([], {})


def test_every_command_shows_an_example(tmp_path: Path) -> None:
    for name in ("export", "import", "list", "begin"):
        assert f"  influence verdicts {name}" in command(tmp_path, name, "--help")


def test_outside_a_workspace_one_sentence_says_so(tmp_path: Path, influence: Influence) -> None:
    (tmp_path / "in.csv").write_text("example_id,verdict\na,keep\n")
    for arguments in (["export", "out.csv"], ["import", "in.csv"], ["list"], ["begin"]):
        with pytest.raises(UserError):
            command(tmp_path, *arguments)
    failed = influence(tmp_path, "verdicts", "list")
    assert failed.returncode == 1 and failed.stderr.startswith("influence: ") and failed.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Four rows of which one is flagged, as a run leaves them."""
    found = Workspace(tmp_path)
    ids, labels = ["=a", "b", "c", "d"], ["cat", "dog", "cat", "dog"]
    columns = {
        "example_id": ids,
        "display": [f'{{"x": {n}}}' for n in range(4)],
        "label": labels,
        "given_label": labels,
    }
    inputs = pa.array([{"indices": [0], "values": [1.0]}] * 4, SPARSE)
    for split in SPLITS:
        rows = pa.table({**columns, "input": inputs}).slice(0, 4 if split == "train" else 0)
        write_table(found.split(split), rows, prepared_schema(SPARSE))
    write_json(found.encoding, asdict(Encoding("table", ["cat", "dog"], (1,), {})))
    ranked = {
        "example_id": ids,
        "rank": [1, 2, 3, 4],
        "error_probability": [0.9, 0.1, 0.1, 0.1],
        "given_label": labels,
        "suggested_label": ["dog", "cat", "dog", "cat"],
        "suggested_probability": [0.8, 0.1, 0.1, 0.1],
    }
    signals = pa.table({**ranked, **{name: [4.0, 3.0, 2.0, 1.0] for name in SIGNAL_NAMES}})
    write_table(found.signals, signals, SIGNALS)
    empty = {name: pa.nulls(1, FLAGS.field(name).type) for name in FLAGS.names[len(SIGNALS) :]}
    flags = {**{name: signals[name].slice(0, 1) for name in SIGNALS.names}, **empty, "reason": ["=loses 3 nats"]}
    write_table(found.flags, pa.table(flags), FLAGS)
    write_table(found.findings, FINDINGS.empty_table(), FINDINGS)
    store.create(found)
    return found


def test_a_file_goes_out_and_its_answers_come_back_once(workspace: Workspace) -> None:
    root, path = workspace.root, workspace.root / "queue.csv"
    assert command(root, "export", "queue.csv").startswith("1 questions in queue.csv\n")
    with path.open(encoding="utf-8-sig", newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["example_id"], row["reason"]) == ("'=a", "'=loses 3 nats")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow({**row, "verdict": "relabel", "new_label": "dog"})
    with pytest.raises(UserError, match=r"queue\.csv would be overwritten: add --force"):
        command(root, "export", "queue.csv")
    with pytest.raises(UserError, match=r"queue\.csv, row 2: no reviewer is named"):
        command(root, "import", "queue.csv")
    for expected in ("1 verdicts added; 0 of 1", "0 verdicts added; 1 of 1"):
        assert command(root, "import", "queue.csv", "--reviewer", "ann").startswith(expected)
    [given] = store.read(workspace)
    assert (given.example_id, given.verdict, given.new_label, given.reviewer) == ("=a", "relabel", "dog", "ann")
    listed = command(root, "list")
    assert "1 examples judged by 1 reviewers: 1 settled" in listed


def test_tasks_for_label_studio_bring_their_configuration(workspace: Workspace) -> None:
    root = workspace.root
    assert command(root, "export", "tasks.json").startswith("1 questions in tasks.json, to be shown by tasks.xml\n")
    [task] = json.loads((root / "tasks.json").read_text())
    assert task["data"]["row"] == {"x": 0}
    answer = {"from_name": "label", "to_name": "example", "type": "choices", "value": {"choices": ["dog"]}}
    task["annotations"] = [{"completed_by": 1, "result": [answer]}]
    (root / "export.json").write_text(json.dumps([task]))
    assert command(root, "import", "export.json").startswith("1 verdicts added")
    assert [given.reviewer for given in store.read(workspace)] == ["user 1"]


def test_a_file_without_verdicts_is_made_where_there_is_none(workspace: Workspace) -> None:
    workspace.verdicts.unlink()
    workspace.parameters.touch()
    assert command(workspace.root, "begin") == "0 verdicts in reviews/verdicts.parquet\n"
    store.append(workspace, [said("a", "keep")])
    assert command(workspace.root, "begin").startswith("1 verdicts")
