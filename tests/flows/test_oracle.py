"""A simulated review from end to end; the stages run in this process in place of DVC and Prefect."""

import contextlib
import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.init import initialise
from flows.oracle import run_oracle
from flows.sniff import Hints
from tasks import flag, precondition, prepare, score, train
from tasks.artifacts import read_table
from tasks.errors import UserError
from tasks.parameters import load_parameters
from tasks.reviews import store
from tasks.workspace import Workspace

STAGES = (prepare.run, train.run, precondition.run, score.run, flag.run)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two classes of points, some labels of which are to be changed."""
    rng = np.random.default_rng(0)
    classes = rng.integers(2, size=240)
    points = 2.0 * classes[:, None] + rng.normal(size=(240, 3))
    with (tmp_path / "points.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y", "z", "label"])
        writer.writerows([*point, "ab"[one]] for point, one in zip(points.tolist(), classes, strict=True))
    monkeypatch.chdir(tmp_path)
    initialise(tmp_path, Path("points.csv"), Hints(label="label"))
    path = tmp_path / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["prepare"]["corruption"] = 0.1
    content["flag"]["inspect"] = 0.08
    content["train"]["epochs"] = 8
    path.write_text(yaml.safe_dump(content))
    return Workspace(tmp_path)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were launched, one for every run."""
    runs: list[Path] = []

    def launch(root: Path) -> None:
        runs.append(root)
        with contextlib.chdir(root):
            parameters = load_parameters(Path("params.yaml"))
            for stage in STAGES:
                stage(Workspace(Path()), parameters)

    monkeypatch.setattr("flows.launch.launch", launch)
    return runs


def test_the_loop_mends_what_it_flags_round_by_round(
    workspace: Workspace, launched: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_oracle(workspace.root, 2)
    assert launched == [workspace.root] * 3
    with workspace.oracle_table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["order"] == "run"]
    mended = [float(row["mended"]) for row in rows]
    assert mended[0] == 0 < mended[1] <= mended[2] and mended[1] > 0.5
    truth = {row["example_id"]: row["true_label"] for row in read_table(workspace.truth).to_pylist()}
    rows_now = read_table(workspace.split("train")).to_pylist()
    relabelled = {row["example_id"] for row in rows_now if row["label"] != row["given_label"]}
    assert relabelled == {verdict.example_id for verdict in store.read(workspace) if verdict.verdict == "relabel"}
    assert all(row["label"] == truth[row["example_id"]] for row in rows_now if row["example_id"] in relabelled)
    shown = capsys.readouterr().out
    assert "oracle: round 2, run:" in shown and str(workspace.oracle_table) in shown
    with pytest.raises(UserError, match="holds verdicts already"):
        run_oracle(workspace.root, 1)


def test_without_planted_errors_it_does_not_start(workspace: Workspace, launched: list[Path]) -> None:
    text = workspace.parameters.read_text().replace("corruption: 0.1", "corruption: 0")
    workspace.parameters.write_text(text)
    with pytest.raises(UserError, match="no errors were planted"):
        run_oracle(workspace.root, 1)
    assert len(launched) == 1
