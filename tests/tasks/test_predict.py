"""Evaluation and predictions of a split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from influence.objective import SoftmaxCrossEntropy
from tasks.artifacts import PREDICTIONS
from tasks.dataset import load_split
from tasks.errors import UserError
from tasks.models import build
from tasks.parameters import Train
from tasks.predict import evaluate, evaluation_batch, predictions
from tasks.workspace import SPLITS, Workspace

OBJECTIVE = SoftmaxCrossEntropy()


def test_batches_do_not_matter(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    workspace = make_prepared(tmp_path, kind="table", count=57)
    split = load_split(workspace, "train")
    model = build(Train(factory="mlp"), split.encoding, seed=0)
    whole, parts = (evaluate(model, split, OBJECTIVE, size) for size in (57, 10))
    assert whole.mean_loss == pytest.approx(parts.mean_loss, rel=1e-6)
    assert whole.accuracy == parts.accuracy
    assert torch.allclose(whole.margins, parts.margins, atol=1e-6)


def test_predictions_say_what_the_model_says(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    workspace = make_prepared(tmp_path, kind="image", count=23, held_out=9)
    splits = {name: load_split(workspace, name) for name in SPLITS}
    model = build(Train(factory="mlp"), splits["train"].encoding, seed=0)
    table = predictions(model, splits, OBJECTIVE, None, seed=0, batch_size=10)
    assert table.schema == PREDICTIONS
    assert table["example_id"].to_pylist() == [id for split in splits.values() for id in split.ids]
    assert table["split"].to_pylist() == ["train"] * 23 + ["validation"] * 9 + ["test"] * 9
    inputs, targets = splits["validation"].batch(slice(None))
    with torch.no_grad():
        outputs, hidden = model(inputs), model[:-1](inputs)
    rows = table.slice(23, 9)
    classes = splits["train"].encoding.classes
    assert rows["label"].to_pylist() == [classes[target] for target in targets]
    assert rows["predicted"].to_pylist() == [classes[index] for index in outputs.argmax(1)]
    for name, expected in [
        ("loss", -outputs.log_softmax(1)[range(9), targets]),
        ("margin", OBJECTIVE.margin(outputs, targets)),
        ("probabilities", outputs.softmax(1)),
        ("features", hidden),
    ]:
        assert np.allclose(np.array(rows[name].to_pylist()), expected.numpy(), atol=1e-5), name


def test_memory_limits_the_batch(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    split = load_split(make_prepared(tmp_path, kind="image", shape=(3, 64, 64), count=4), "train")
    model = build(Train(), split.encoding, seed=0)
    assert evaluation_batch(model, split, OBJECTIVE, 2**31) == 512
    limited = evaluation_batch(model, split, OBJECTIVE, 2**22)
    assert 1 < limited < 32
    assert evaluation_batch(model, split, OBJECTIVE, 1) == 1


def test_an_example_of_infinite_loss_is_named(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    splits = {"train": load_split(make_prepared(tmp_path, kind="table"), "train")}
    model = build(Train(factory="logistic"), splits["train"].encoding, seed=0)
    with torch.no_grad():
        model.output.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"loss on example 'train-0000' of train is not finite"):
        predictions(model, splits, OBJECTIVE, None, seed=0, batch_size=8)
