"""Queries that wait in the inbox, explained once by each model."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stage_runner import run_command, run_in

from tasks import explain_new
from tasks.artifacts import read_table
from tasks.errors import UserError
from tasks.explain import explain
from tasks.explain_new import answers_path
from tasks.inbox import read_inbox
from tasks.parameters import load_parameters
from tasks.reporting.explanation import file_stem
from tasks.workspace import Workspace

Copy = Callable[..., Workspace]


def queries(workspace: Workspace) -> list[str]:
    return list(dict.fromkeys(read_table(answers_path(workspace))["query_id"].to_pylist()))


def inbox(workspace: Workspace, *ids: str) -> None:
    (workspace.root / "inbox.csv").write_text("\n".join(["note,example_id", *(f"why?,{name}" for name in ids)]) + "\n")


def test_each_query_is_explained_once(copy_scored: Copy) -> None:
    workspace = copy_scored("copy", precondition={"tolerance": 0.01})
    inbox(workspace, "test-0007", "validation-0001", "test-0007")
    assert "2 queries explained, 0 left" in run_command(workspace.root, "explain_new")
    assert queries(workspace) == ["test-0007", "validation-0001"]
    assert all((workspace.root / "explain" / f"{file_stem(name)}.html").exists() for name in queries(workspace))
    rows = read_table(answers_path(workspace)).to_pylist()
    alone = explain(workspace, load_parameters(workspace.parameters), "test-0007")
    theirs = [row for row in rows if (row["query_id"], row["tail"]) == ("test-0007", "harmful")]
    assert [row["example_id"] for row in theirs] == [found.example_id for found in alone.harmful]
    assert [row["influence"] for row in theirs] == pytest.approx([found.influence for found in alone.harmful])
    before = answers_path(workspace).read_bytes()
    inbox(workspace, "test-0007", "validation-0001", "no-such")
    run_in(workspace.root, explain_new.run)
    assert answers_path(workspace).read_bytes() == before
    inbox(workspace, "test-0007", "validation-0001", "train-0002")
    run_in(workspace.root, explain_new.run)
    assert queries(workspace) == ["test-0007", "validation-0001", "train-0002"]


def test_a_turn_takes_so_many_and_another_model_answers_anew(
    copy_scored: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = copy_scored("copy", precondition={"tolerance": 0.1})
    content = workspace.parameters.read_text() + "explain: {at_once: 2, k: 1}\n"
    workspace.parameters.write_text(content)
    inbox(workspace, "test-0001", "gone", "test-0002", "test-0003")
    run_in(workspace.root, explain_new.run)
    said = capsys.readouterr().out
    assert "no example has the id 'gone' yet" in said and "2 queries explained, 1 left for the next turn" in said
    run_in(workspace.root, explain_new.run)
    assert queries(workspace) == ["test-0001", "test-0002", "test-0003"]
    split = workspace.split("train")
    table = pq.read_table(split)
    pq.write_table(table, split, compression="gzip")  # other bytes, as of another run
    run_in(workspace.root, explain_new.run)
    assert queries(workspace) == ["test-0001", "test-0002"], "answers of the model before are dropped"


def test_an_empty_inbox_needs_no_model(
    make_prepared: Callable[..., Workspace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in(make_prepared(tmp_path, kind="table").root, explain_new.run)
    assert capsys.readouterr().out == "explain_new: nothing waits in inbox.csv\n"


def test_an_inbox_is_csv_or_parquet_with_ids(tmp_path: Path) -> None:
    assert read_inbox(tmp_path / "none.csv") == []
    path = tmp_path / "inbox.csv"
    path.write_text("example_id\n007\n\n8\n007\n")
    assert read_inbox(path) == ["007", "8"], "an id is text"
    pq.write_table(pa.table({"example_id": [7, None, 8]}), tmp_path / "inbox.parquet")
    assert read_inbox(tmp_path / "inbox.parquet") == ["7", "8"]
    for name, content in (("a.csv", b"id\n1\n"), ("b.parquet", b"\0\1"), ("c.csv", b""), ("d.csv", b"\xff\xfe,\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name} must have a column `example_id`"):
            read_inbox(tmp_path / name)
