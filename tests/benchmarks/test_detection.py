"""The benchmark of the detector on a toy table: what a cell holds, what is kept, what the tables say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.detection import cell, command, tables
from benchmarks.detection.cifar import take_human_labels
from benchmarks.detection.settings import Setting
from tasks.artifacts import prepared_schema, read_table, write_table
from tasks.workspace import Workspace

CORRUPTION = {"kind": "uniform", "share": 0.1}
NAME = "adult-uniform-10"  # a title for the tables


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4))
    labels = np.where(rows[:, 0] + rows[:, 1] > 0, "up", "down")
    pd.DataFrame(rows, columns=list("abcd")).assign(label=labels).to_csv(tmp_path / "toy.csv", index=False)

    def prepare(folder: Path) -> dict[str, Any]:
        source = {"kind": "csv", "label": "label"}
        return {"path": str(folder / "toy.csv"), "source": source, "test": 40, "corruption": CORRUPTION}

    return Setting("Toy", prepare, {"factory": "logistic", "epochs": 3, "learning_rate": 0.1}, retrain=True)


def test_a_cell_is_measured_once_and_its_numbers_reach_the_tables(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "WORK", tmp_path / "kept")
    for work in command.WORKS:
        command._measured(work, NAME, setting, tmp_path, seed=0)
    (path,) = (tmp_path / "kept/run").iterdir()
    before = path.stat().st_mtime_ns
    command._measured(cell.run, NAME, setting, tmp_path, seed=0)
    assert path.stat().st_mtime_ns == before
    (run,) = command._kept(NAME, setting, seeds=2)
    assert run["errors"] == 23 and 0 <= run["learned_errors"] <= 1
    signals = run["signals"]
    assert signals["flags"]["average_precision"] > 0.6 > signals["random"]["average_precision"]
    assert signals[cell.RETRAINED]["auroc"] > 0.8 and signals[cell.KNOWN]["auroc"] > 0.8
    text = tables.write({NAME: [run, run]}, ["enron-uniform-10"], seeds=2)
    assert f"| flags | {signals['flags']['recall_1']:.3f} ± 0.000 |" in text
    assert "enron-uniform-10 (0)" in text
    tables.draw({NAME: [run, run]}, tmp_path / "figure")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_validation_labels_are_as_wrong_as_those_of_training_where_asked(setting: Setting, tmp_path: Path) -> None:
    shares = {}
    for noisy in (False, True):
        with cell._prepared(replace(setting, noisy_validation=noisy), tmp_path, seed=0) as (workspace, _):
            inputs = np.stack(read_table(workspace.split("validation"))["input"].to_pylist())
            labels = read_table(workspace.split("validation"))["label"].to_pylist()
            shares[noisy] = labels, inputs
    changed = [one != other for one, other in zip(shares[False][0], shares[True][0], strict=True)]
    assert sum(changed) == round(0.1 * len(changed)) and np.array_equal(shares[False][1], shares[True][1])


def test_every_setting_gets_a_seed_before_any_gets_the_next_and_the_table_is_there_after_each(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cheap = {"adult-uniform-10": replace(setting, retrain=False, seconds=30), "adult-feature-10": setting}
    asked: list[tuple[str, int]] = []

    def measured(work: command.Work, name: str, setting: Setting, folder: Path, seed: int) -> None:
        asked.append((name, seed))

    def publish(seeds: int, output: Path) -> str:
        asked.append(("table", seeds))
        return ""

    monkeypatch.setattr(command, "SETTINGS", cheap)
    monkeypatch.setattr(command, "_measured", measured)
    monkeypatch.setattr(command, "_publish", publish)
    command.main(settings="adult", seeds=2, table_only=False, output=tmp_path / "table")
    once = list(dict.fromkeys(asked[: len(asked) // 2]))
    assert once == [("adult-uniform-10", 0), ("adult-feature-10", 0), ("table", 2)]
    assert [seed for name, seed in asked if name != "table"] == [0] * 6 + [1] * 6
    assert "8 cells to measure, about 1 minutes of CPU" in capsys.readouterr().out


def test_the_calibration_error_worked_out_by_hand() -> None:
    probability, wrong = np.array([0.05, 0.05, 0.95, 0.95]), np.array([0, 0, 1, 0])
    assert cell.calibration_error(probability, wrong) == pytest.approx((0.1 + 0.9) / 4)


def test_human_labels_take_the_place_of_the_true_ones(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    columns = {"example_id": ["7", "3"], "input": [1.0, 2.0], "display": pa.nulls(2, pa.string())}
    table = pa.table({**columns, "label": ["0", "1"], "given_label": ["0", "1"]})
    write_table(workspace.split("train"), table, prepared_schema(pa.float64()))
    pq.write_table(pa.table({"index": [3, 7], "worse_label": [4, 0]}), tmp_path / "labels.parquet")
    take_human_labels(workspace, tmp_path / "labels.parquet", "worse_label", ["train"])
    assert read_table(workspace.split("train"))["label"].to_pylist() == ["0", "4"]
    assert read_table(workspace.truth)["true_label"].to_pylist() == ["0", "1"]
    assert read_table(workspace.truth)["planted"].to_pylist() == [False, True]
