"""The console script as a person types it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import Toy

Influence = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = ("run", "explain", "slices", "audit", "compare", "trust", "report", "serve", "automate", "init")


def test_help_loads_nothing_heavy(tmp_path: Path, influence: Influence) -> None:
    shown = influence(tmp_path, "--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in COMMANDS)
    script = "import sys, flows.cli; print({'torch', 'prefect', 'dvc', 'pandas', 'pyarrow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str, tmp_path: Path, influence: Influence) -> None:
    assert f"  influence {command}" in influence(tmp_path, command, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["explain", "x"],
        ["slices", "--by", "label"],
        ["audit"],
        ["compare", ".", "."],
        ["report"],
        ["serve", "--interval", "5"],
    ],
)
def test_outside_a_workspace_one_sentence_says_so(arguments: list[str], tmp_path: Path, influence: Influence) -> None:
    failed = influence(tmp_path, *arguments)
    assert failed.returncode == 1
    assert failed.stderr.startswith("influence: ") and failed.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_target_ends_before_a_server_starts(toy: Toy, influence: Influence) -> None:
    failed = influence(toy.root, "run", "--target", "trian")
    assert failed.returncode == 1
    assert failed.stderr == "influence: dvc.yaml has no stage 'trian': its stages are prepare, report, train\n"
    assert "Starting" not in failed.stdout


def test_the_report_is_found(toy: Toy, influence: Influence) -> None:
    page = toy.root / "report/index.html"
    page.parent.mkdir()
    page.write_text("page")
    shown = influence(toy.root, "report", "--no-open")
    assert (shown.returncode, shown.stdout) == (0, f"{page}\n")


def test_init_writes_a_workspace_and_says_what_next(tmp_path: Path, influence: Influence) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,a\n2,b\n")
    done = influence(tmp_path, "init", "a.csv", "--label", "y")
    assert done.returncode == 0, done.stderr
    assert "influence run" in done.stdout
    assert {"params.yaml", "dvc.yaml", "prefect.yaml", ".gitignore", ".dvc"} <= {p.name for p in tmp_path.iterdir()}
