"""What every stage does around its own work."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from tasks.artifacts import PACKAGE
from tasks.errors import UserError
from tasks.parameters import Parameters, load_parameters
from tasks.stage import Work, check_version, main, read_timing
from tasks.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, make_prepared: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(sys, "path", list(sys.path))
    make_prepared(tmp_path, kind="table")
    monkeypatch.chdir(tmp_path)
    return Workspace(Path())


def test_a_stage_that_ends_well_says_what_it_did(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_timing(workspace, "toy") is None
    seen: list[Parameters] = []

    def work(found: Workspace, parameters: Parameters) -> Work:
        seen.append(parameters)
        return Work(1200, "cpu")

    main("toy", work)
    assert seen == [load_parameters(workspace.parameters)]
    assert capsys.readouterr().out.startswith("toy: 1,200 examples in ")
    timing = read_timing(workspace, "toy")
    assert timing is not None and (timing["examples"], timing["device"]) == (1200, "cpu")


def test_bad_input_is_one_sentence_and_exit_1(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(found: Workspace, parameters: Parameters) -> Work:
        raise UserError("data.csv: row 3 has no label: fill it in")

    with pytest.raises(SystemExit) as caught:
        main("toy", refuse)
    assert caught.value.code == 1
    assert capsys.readouterr() == ("", "toy: data.csv: row 3 has no label: fill it in\n")
    assert read_timing(workspace, "toy") is None


def test_an_error_of_the_program_keeps_its_traceback(workspace: Workspace) -> None:
    def fail(found: Workspace, parameters: Parameters) -> Work:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        main("toy", fail)


def test_only_one_process_at_a_time_runs_a_stage(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    inside, free, order = threading.Event(), threading.Event(), list[str]()

    def first(found: Workspace, parameters: Parameters) -> Work:
        inside.set()
        free.wait(10)
        order.append("first")
        return Work(1)

    def second(found: Workspace, parameters: Parameters) -> Work:
        order.append("second")
        return Work(1)

    one = threading.Thread(target=main, args=("toy", first))
    one.start()
    assert inside.wait(10)
    two = threading.Thread(target=main, args=("toy", second))
    two.start()
    main("other", second)  # another stage does not wait
    two.join(0.3)
    assert two.is_alive() and order == ["second"]
    free.set()
    one.join(10)
    two.join(10)
    assert order == ["second", "first", "second"]
    assert "toy: another process is running this stage here; waiting for it" in capsys.readouterr().out


def test_the_version_a_workspace_was_made_for(workspace: Workspace) -> None:
    parameters, installed = load_parameters(workspace.parameters), version(PACKAGE)
    check_version(parameters)
    check_version(parameters.model_copy(update={"package": installed}))
    with pytest.raises(UserError) as caught:
        check_version(parameters.model_copy(update={"package": "0.0.1"}))
    assert str(caught.value) == (
        f"params.yaml was written for {PACKAGE} 0.0.1, but {installed} is installed: "
        f"set `package: {installed}` (every stage reruns) or install 0.0.1"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"package": "0.0.1"}, "score: params.yaml was written for influence-pipeline 0.0.1, but "),
        ({}, "score: curvature/factors.safetensors is missing: run its stage with `influence run` or `dvc repro`"),
    ],
)
def test_a_real_stage_fails_with_one_sentence(
    copy_scored: Callable[..., Workspace], change: dict[str, str], message: str
) -> None:
    """In a folder whose own package `tasks` must not take the place of this one."""
    workspace = copy_scored("copy")
    workspace.factors.unlink()
    workspace.parameters.write_text(workspace.parameters.read_text() + (f"{json.dumps(change)[1:-1]}\n"))
    (workspace.root / "tasks").mkdir()
    (workspace.root / "tasks/__init__.py").write_text("raise SystemExit('the wrong package')")
    command = [sys.executable, "-I", "-m", "tasks.score"]
    ended = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == 1 and ended.stdout == ""
