"""The train stage, run as a user's workspace runs it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import SGD

from influence.objective import SoftmaxCrossEntropy
from tasks.artifacts import EPOCH_MARGINS, PREDICTIONS, PROVENANCE, read_json, read_table
from tasks.dataset import load_encoding, load_split
from tasks.errors import UserError
from tasks.fitting import Fit, learning_rate
from tasks.models import build, load_model
from tasks.objects import add_import_paths
from tasks.parameters import Train, load_parameters
from tasks.predict import evaluate
from tasks.train import run
from tasks.workspace import Workspace

OBJECTIVE = SoftmaxCrossEntropy()
OUTPUTS = ("weights", "model_metrics", "loss_curve", "predictions", "epoch_margins")
OWN = """
from torch import nn

def make(shape, classes):
    return nn.Sequential(
        nn.Conv2d(shape[0], 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(4 * 36, classes),
    )
"""


def train_here(workspace: Workspace) -> None:
    run(workspace, load_parameters(workspace.parameters))


def outputs(workspace: Workspace) -> dict[str, bytes]:
    return {name: getattr(workspace, name).read_bytes() for name in OUTPUTS}


@pytest.mark.parametrize(
    ("kind", "train"),
    [
        ("image", {"factory": "cnn", "learning_rate": 0.02}),
        ("table", {"factory": "mlp", "arguments": {"hidden": [16]}}),
        ("table", {"factory": "logistic", "optimizer": "adam", "schedule": "constant"}),
        ("text", {"factory": "text_linear", "learning_rate": 1.0}),
    ],
)
def test_every_ready_made_model_learns(
    tmp_path: Path, make_prepared: Callable[..., Workspace], kind: str, train: dict
) -> None:
    workspace = make_prepared(tmp_path, kind=kind, train={"epochs": 12, "batch_size": 16, **train})
    train_here(workspace)
    metrics = read_json(workspace.model_metrics)
    assert metrics["test"]["accuracy"] > 0.85
    assert metrics["parameters"] > 0
    assert not (workspace.work / "train").exists()


def test_outputs_agree_with_each_other(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    settings = {"factory": "mlp", "epochs": 40, "batch_size": 16, "patience": 2, "schedule": "constant"}
    workspace = make_prepared(tmp_path, kind="table", flipped=0.2, train=settings)
    train_here(workspace)
    metrics, table = read_json(workspace.model_metrics), read_table(workspace.predictions)
    assert table.schema.remove_metadata() == PREDICTIONS
    assert json.loads(table.schema.metadata[PROVENANCE])["parameters"]["train"]["epochs"] == 40

    with workspace.loss_curve.open() as file:
        curve = list(csv.DictReader(file))
    losses = {split: [float(row[f"{split}_loss"]) for row in curve] for split in ("train", "validation")}
    epochs, best = metrics["epochs"], metrics["best_epoch"]
    assert epochs < 40  # stopped early: the flipped labels cannot be learned without harm
    assert epochs - best == 2
    assert len(losses["train"]) == len(losses["validation"]) == epochs
    assert int(np.argmin(losses["validation"])) + 1 == best

    margins = read_table(workspace.epoch_margins)
    assert margins.schema.remove_metadata() == EPOCH_MARGINS
    assert margins["example_id"].to_pylist() == load_split(workspace, "train").ids
    per_epoch = np.array(margins["margins"].to_pylist())
    assert per_epoch.shape == (120, epochs)
    # the weights written are those of the best epoch, so their margins are that epoch's
    assert np.allclose(per_epoch[:, best - 1], table["margin"].to_numpy()[:120], atol=1e-5)
    model = load_model(workspace, load_parameters(workspace.parameters), load_encoding(workspace), torch.device("cpu"))
    for split in ("train", "validation", "test"):
        result = evaluate(model, load_split(workspace, split), OBJECTIVE, 512)
        assert result.mean_loss == pytest.approx(metrics[split]["loss"], rel=1e-6)
        assert result.accuracy == metrics[split]["accuracy"]


def test_the_steps_descend_the_stated_objective(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    """One epoch of one batch is one step of plain gradient descent on mean loss plus regularisation."""
    split = load_split(make_prepared(tmp_path, kind="table"), "train")
    train = Train(factory="logistic", epochs=1, batch_size=120, learning_rate=0.1, momentum=0.0, weight_decay=0.5)
    objective = SoftmaxCrossEntropy(weight_decay=0.5)
    model, expected = (build(train, split.encoding, seed=0) for _ in range(2))
    Fit(model, objective, split, split, train, seed=0, batch_size=512).run(lambda state: None)
    inputs, targets = split.batch(slice(None))
    weight = expected.output.weight
    loss = torch.nn.functional.cross_entropy(expected(inputs), targets) + 0.25 * weight.square().sum()
    loss.backward()
    SGD(expected.parameters(), lr=0.1).step()
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_learning_rate_schedules() -> None:
    assert learning_rate(Train(schedule="constant", learning_rate=0.3), 7, 10) == 0.3
    rates = [learning_rate(Train(learning_rate=0.3), step, 10) for step in range(11)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[5], rates[10]) == (0.3, pytest.approx(0.15), pytest.approx(0.0))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    tmp_path: Path, make_prepared: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for seed in (1, 1, 2):
        workspace = make_prepared(Path(), kind="image", train={"epochs": 2})
        parameters = load_parameters(workspace.parameters).model_copy(update={"seed": seed})
        run(workspace, parameters)
        found.append(outputs(workspace))
    assert found[0] == found[1]
    assert found[0]["weights"] != found[2]["weights"]


def test_a_checkpoint_is_evaluated_and_not_trained(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    first = make_prepared(tmp_path / "a", kind="table", train={"factory": "logistic", "epochs": 3})
    train_here(first)
    settings = {"factory": "logistic", "checkpoint": "given.safetensors"}
    second = make_prepared(tmp_path / "b", kind="table", train=settings)
    with pytest.raises(UserError, match=r"given\.safetensors is missing"):
        train_here(second)
    (second.root / "given.safetensors").write_bytes(first.weights.read_bytes())
    train_here(second)
    ours, theirs = read_json(second.model_metrics), read_json(first.model_metrics)
    assert (ours["epochs"], ours["best_epoch"]) == (0, 0)
    assert ours["test"] == theirs["test"]
    assert second.weights.read_bytes() == first.weights.read_bytes()
    final = read_table(second.predictions)["margin"].to_pylist()[:120]
    assert read_table(second.epoch_margins)["margins"].to_pylist() == [[margin] for margin in final]
    assert len(second.loss_curve.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            {"factory": "mlp", "learning_rate": 1e30},
            r"training diverged at epoch 1 \(loss is .*lower `train\.learning_rate`",
        ),
        ({"factory": "mlp", "features": "hiden1"}, r"`train\.features`: the model has no module 'hiden1'"),
        ({"factory": "cnn"}, r"cnn is for images"),
    ],
)
def test_messages(tmp_path: Path, make_prepared: Callable[..., Workspace], train: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train_here(make_prepared(tmp_path, kind="table", train={"epochs": 2, **train}))


def test_without_validation_examples(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    with pytest.raises(UserError, match=r"120 training and 0 validation examples; both are needed"):
        train_here(make_prepared(tmp_path, kind="table", held_out=0, train={"factory": "mlp"}))


def start(workspace: Workspace) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-m", "tasks.train"]
    return subprocess.Popen(
        command,
        cwd=workspace.root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # on a busy machine, threads wait for each other
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_after_epochs(workspace: Workspace, epochs: int) -> None:
    """Start the stage and kill -9 it when that many epochs have ended and their state is on disk."""
    process = start(workspace)
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        seen += "validation loss" in line
        if seen == epochs:
            break
    deadline = time.monotonic() + 20
    while not list(workspace.work.glob("train/*/state.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_killed_run_ends_with_the_same_bytes(
    tmp_path: Path, make_prepared: Callable[..., Workspace], optimizer: str
) -> None:
    """With BatchNorm's buffers and dropout's random numbers, killed twice."""
    workspaces = []
    for name in ("undisturbed", "killed"):
        settings = {"factory": "own:make", "epochs": 40, "batch_size": 8, "optimizer": optimizer, "patience": None}
        workspace = make_prepared(tmp_path / name, count=200, train={**settings, "learning_rate": 0.01})
        (workspace.root / "own.py").write_text(OWN)
        workspaces.append(workspace)
    undisturbed, killed = workspaces
    finished = start(undisturbed)
    output, _ = finished.communicate()
    assert finished.returncode == 0, output
    kill_after_epochs(killed, 1)
    kill_after_epochs(killed, 3)
    assert not killed.predictions.exists()
    resumed = start(killed)
    output, _ = resumed.communicate()
    assert resumed.returncode == 0, output
    assert "going on after epoch" in output
    assert outputs(killed) == outputs(undisturbed)
    assert not (killed.work / "train").exists()


def test_another_training_does_not_take_the_state_of_this_one(
    tmp_path: Path, make_prepared: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same folder, same shapes: a changed label, parameter or factory must not meet an old state."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    add_import_paths(tmp_path)
    (tmp_path / "own_model_of_train_test.py").write_text(OWN)

    class KilledError(Exception):
        pass

    def names() -> set[str]:
        return {path.name for path in (tmp_path / ".work/train").glob("*")}

    def interrupt(flipped: float = 0.0, **train: object) -> set[str]:
        settings = {"factory": "own_model_of_train_test:make", "epochs": 3, **train}
        workspace = make_prepared(tmp_path, flipped=flipped, train=settings)
        with monkeypatch.context() as patch:
            patch.setattr("tasks.train._write", lambda *_: (_ for _ in ()).throw(KilledError))
            with pytest.raises(KilledError):
                train_here(workspace)
        return names()

    first = interrupt()
    assert len(first) == 1
    assert interrupt() == first
    seen = [first]
    for change in ({"flipped": 0.1}, {"learning_rate": 0.02}):
        found = interrupt(**change)
        assert len(found) == 1  # the other state is gone
        assert found not in seen
        seen.append(found)
    (tmp_path / "own_model_of_train_test.py").write_text(OWN.replace("0.3", "0.4"))
    assert interrupt() not in seen
