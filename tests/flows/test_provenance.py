"""What `influence provenance` finds out, with real DVC and git."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from toy import Toy

from flows.dvc_record import read_record
from flows.provenance import print_provenance
from tasks.errors import UserError


def test_a_file_that_says_nothing_is_answered_from_dvc_lock(toy: Toy) -> None:
    assert read_record(toy.root, toy.root / "b") is None  # has not run
    toy.dvc("repro")
    record = read_record(toy.root, toy.root / "b")
    assert record is not None and record.origin.stage == "train" and record.command == "cat a a > b"
    assert record.origin.parameters == {"train.epochs": 3} and record.changed == []
    assert [(each.path, each.now) for each in record.origin.inputs] == [("a", "same")]
    assert record.output.now == "same" and record.output.content in (toy.root / "dvc.lock").read_text()


def test_what_changed_since_is_told(toy: Toy) -> None:
    toy.dvc("repro")
    toy.parameters(train={"epochs": 4})
    (toy.root / "a").unlink()
    (toy.root / "a").write_text("other")
    (toy.root / "b").unlink()
    record = read_record(toy.root, toy.root / "b")
    assert record is not None and record.changed == ["train.epochs"]
    assert record.origin.parameters == {"train.epochs": 3}  # as it was then
    assert record.origin.inputs[0].now == "changed" and record.output.now == "missing"
    (toy.root / "b").write_text("other")
    assert (record := read_record(toy.root, toy.root / "b")) is not None and record.output.now == "changed"


def test_a_file_in_a_folder_that_a_stage_writes(toy: Toy) -> None:
    toy.command("prepare", "mkdir -p a && cp raw a/part")
    toy.command("train", "cat a/part > b")
    toy.dvc("repro")
    record = read_record(toy.root, toy.root / "a/part")
    assert record is not None and record.origin.stage == "prepare" and record.output.path == "a"


def test_the_command_names_stage_parameters_inputs_and_commit(
    toy: Toy, influence: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    toy.dvc("repro")
    uncommitted = influence(toy.root, "provenance", "b").stdout
    assert "train (cat a a > b)" in uncommitted and "has not been committed" in uncommitted
    assert "train.epochs" in uncommitted and "the same" in uncommitted
    unknown = influence(toy.root, "provenance", "raw")
    assert unknown.returncode == 1 and "no stage of dvc.yaml" in unknown.stderr and "Traceback" not in unknown.stderr


def test_what_is_printed_cannot_be_markup(toy: Toy) -> None:
    toy.parameters(report={"title": "[red]a[/red]"})
    toy.dvc("repro")
    record = read_record(toy.root, toy.root / "report/index.html")
    console = Console(width=160, record=True)
    print_provenance(Path("[bold]b"), None, record, None, console)
    text = console.export_text()
    assert "[red]a[/red]" in text and "[bold]b" in text


def test_outside_a_workspace_it_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no dvc\.yaml"):
        read_record(tmp_path, tmp_path / "x")
