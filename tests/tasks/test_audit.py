"""The audit of a small workspace of images."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from stage_runner import run_in

from influence.retraining import NotConvergedError
from tasks import train
from tasks.artifacts import prepared_schema, read_json, read_table, write_json, write_table
from tasks.audit import audit
from tasks.errors import UserError
from tasks.parameters import load_parameters
from tasks.reporting.auditing import Audit, metrics
from tasks.workspace import Workspace

Make = Callable[..., Workspace]
SETTINGS: dict[str, Any] = {"factory": "cnn", "arguments": {"channels": [4]}, "epochs": 3, "weight_decay": 0.01}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make_prepared: Make) -> Path:
    """The folder of a workspace of images in which train has run; to be read, or copied and changed."""
    root = tmp_path_factory.mktemp("trained")
    make_prepared(root, count=40, held_out=20, seed=1, train=SETTINGS, compute={"device": "cpu"})
    run_in(root, train.run)
    return root


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(trained, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def audited(workspace: Workspace, **arguments: Any) -> Audit:
    return audit(workspace, load_parameters(workspace.parameters), **arguments)


def test_what_is_found_is_consistent_and_written(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(trained)
    found = audited(workspace, queries=3, levels=20.0)
    assert "audit: choosing images to change for 3 of 3 queries" in capsys.readouterr().out
    assert [count.images for count in found.counts] == [1, 2, 3, 5, 10]
    fewest = [target.fewest for target in found.targets]
    for count in found.counts:
        assert count.attack.found == sum(number is not None and number <= count.images for number in fewest)
        assert count.attack.total == count.random.total == count.label_flip.total == 3
    assert found.largest_change <= 20.0 + 1e-4
    assert max(float(np.abs(target.change).max()) for target in found.targets) == pytest.approx(20.0, rel=1e-4)
    predictions = {row["example_id"]: row for row in read_table(workspace.predictions).to_pylist()}
    agreeing = [predictions[target.query_id]["predicted"] == target.label for target in found.targets]
    assert sum(agreeing) >= 2  # the layer trained again reads them all; the model itself may not
    assert {predictions[target.attacked_id]["split"] for target in found.targets} == {"train"}
    assert read_json(workspace.audit_metrics)["counts"]["1"]["flipped"] == found.counts[0].attack.value


def test_the_same_seed_gives_the_same_audit(trained: Path) -> None:
    one, other = (audited(Workspace(trained), queries=1) for _ in range(2))
    assert metrics(one) == metrics(other)
    assert np.array_equal(one.targets[0].change, other.targets[0].change)
    assert np.abs(one.targets[0].change).max() < 0.5


def relabelled(workspace: Workspace, new: Callable[[list[str]], list[str]], keep: int | None = None) -> Workspace:
    """Change the labels of the test split, and how many examples it holds."""
    path = workspace.split("test")
    table = read_table(path).slice(0, keep)
    table = table.set_column(3, "label", pa.array(new(table["label"].to_pylist()), pa.string()))
    write_table(path, table, prepared_schema(table["input"].type))
    return workspace


def test_bad_input_is_one_sentence(copied: Workspace, scored: Path) -> None:
    with pytest.raises(UserError, match=r"pixels of training images, and the inputs here are of kind table: it needs"):
        audited(Workspace(scored))
    ids, predicted = (read_table(copied.predictions)[name].to_pylist() for name in ("split", "predicted"))
    says = [label for split, label in zip(ids, predicted, strict=True) if split == "test"]
    wrong = {"class 0": "class 1", "class 1": "class 2", "class 2": "class 0"}
    relabelled(copied, lambda labels: [wrong[label] for label in says[:1]], keep=1)
    with pytest.raises(UserError, match=r"none of the 1 images of test is read correctly: there is nothing to attack"):
        audited(copied)
    relabelled(copied, lambda labels: labels, keep=0)
    with pytest.raises(UserError, match=r"test\.parquet holds no examples to attack: choose another with --split"):
        audited(copied)


def test_a_layer_without_a_minimum_is_one_sentence(copied: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = load_parameters(copied.parameters)
    without = parameters.model_copy(update={"train": parameters.train.model_copy(update={"weight_decay": 0.0})})
    with pytest.raises(UserError, match=r"without weight decay .* has no minimum: set `train.weight_decay` above 0"):
        audit(copied, without)

    def fail(*arguments: object) -> None:
        raise NotConvergedError("the gradient is still 1")

    monkeypatch.setattr("tasks.audit.TopLayer", fail)
    with pytest.raises(UserError, match=r"cannot be trained to its minimum \(the gradient is still 1\): raise"):
        audit(copied, parameters)


def test_too_many_classes_are_refused_before_any_work(copied: Workspace) -> None:
    encoding = read_json(copied.encoding)
    classes = [*encoding["classes"], *(f"more {number}" for number in range(254))]
    write_json(copied.encoding, {**encoding, "classes": classes})
    with pytest.raises(UserError, match=r"takes up to 256 classes, not 257: set `prepare\.classes`"):
        audited(copied)
