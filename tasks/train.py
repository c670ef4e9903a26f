"""Train the model, or take a trained one, and write what it says of every example."""

import csv
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
from torch import nn

from influence.objective import Objective, SoftmaxCrossEntropy
from tasks import journal
from tasks.artifacts import (
    EPOCH_MARGINS,
    PREDICTIONS,
    content_hash,
    fingerprint,
    provenance,
    write_json,
    write_table,
    write_text,
)
from tasks.checkpoint import EpochResult, TrainingState, load_state, save_state
from tasks.code import code_identity
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.fitting import Fit
from tasks.models import build, factory_source, load_weights
from tasks.parameters import Parameters
from tasks.predict import Evaluation, check_features, evaluate, evaluation_batch, predictions, rows_as_lists
from tasks.stage import Work, main
from tasks.tensors import write_tensors
from tasks.workspace import SPLITS, SplitName, Workspace


@dataclass(frozen=True)
class Job:
    """All that the parts of this stage share."""

    workspace: Workspace
    parameters: Parameters
    splits: dict[SplitName, Split]
    model: nn.Module
    objective: Objective
    batch_size: int  # examples evaluated at once


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Train on the prepared training split and write everything under model/.

    Raises:
        UserError: the model does not fit the data, the checkpoint not the model, or the training diverges.
    """
    train = parameters.train
    splits = {name: load_split(workspace, name) for name in SPLITS}
    if not len(splits["train"]) or not len(splits["validation"]):
        raise UserError(
            f"{workspace.split('train').parent} holds {len(splits['train'])} training and "
            f"{len(splits['validation'])} validation examples; both are needed: change `prepare.validation`"
        )
    model = build(train, splits["train"].encoding, parameters.seed)
    check_features(model, splits["train"], train.features)
    if train.checkpoint is not None:
        load_weights(model, workspace.root / train.checkpoint, train.factory)
    objective = SoftmaxCrossEntropy(weight_decay=train.weight_decay)
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        model.to(device)
        batch_size = evaluation_batch(model, splits["train"], objective, parameters.compute.memory_bytes)
        job = Job(workspace, parameters, splits, model, objective, batch_size)
        state, epochs = _fit(job) if train.checkpoint is None else (None, 0)
        _write(job, state)
    shutil.rmtree(workspace.work / "train", ignore_errors=True)
    return Work(epochs * len(splits["train"]), str(device))


def _fit(job: Job) -> tuple[TrainingState, int]:
    """Train, or go on training; the model ends with the weights of its best epoch.

    Returns:
        the last state, and how many epochs were trained by this process.
    """
    train = job.parameters.train
    path = _state_path(job)
    saved = load_state(path)
    if saved is not None:
        print(f"train: going on after epoch {saved.epoch}", flush=True)
    fit = Fit(
        job.model,
        job.objective,
        job.splits["train"],
        job.splits["validation"],
        train,
        job.parameters.seed,
        job.batch_size,
        saved,
    )

    def save(current: TrainingState) -> None:
        save_state(path, current)
        journal.record("epoch finished", epoch=current.epoch)

    state = fit.run(save)
    print(f"train: the weights kept are those of epoch {state.best_epoch}", flush=True)
    job.model.load_state_dict(state.best_weights)
    return state, state.epoch - (saved.epoch if saved else 0)


def _state_path(job: Job) -> Path:
    """Where the state of exactly this training lies. Those of others, left by killed runs, are removed."""
    train = job.parameters.train
    source = factory_source(train.factory)
    device = next(job.model.parameters()).device
    name = fingerprint(
        job.parameters.model_dump(include={"seed", "compute", "train"}),
        [content_hash(path) for path in _inputs(job.workspace)],
        content_hash(source) if source else None,
        [*code_identity(), device.type, torch.get_num_threads()],  # bits depend on these
    )
    folder = job.workspace.work / "train"
    for other in folder.glob("*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)
    return folder / name / "state.safetensors"


def _write(job: Job, state: TrainingState | None) -> None:
    """Write every artifact. Without a state nothing was trained: what the model says now is its one epoch."""
    workspace, parameters, train = job.workspace, job.parameters, job.parameters.train
    inputs = [*_inputs(workspace), *([workspace.root / train.checkpoint] if train.checkpoint else [])]
    origin = provenance("train", parameters.model_dump(include={"seed", "compute", "train"}), inputs)
    table = predictions(job.model, job.splits, job.objective, train.features, parameters.seed, job.batch_size)
    write_table(workspace.predictions, table, PREDICTIONS, origin)

    results = {
        name: evaluate(job.model, split, job.objective, job.batch_size)
        for name, split in job.splits.items()
        if len(split)
    }
    margins = results["train"].margins[None] if state is None else state.margins
    columns = {"example_id": job.splits["train"].ids, "margins": rows_as_lists(margins.T)}
    write_table(workspace.epoch_margins, pa.table(columns), EPOCH_MARGINS, origin)
    write_text(workspace.loss_curve, _curve([_single(results)] if state is None else state.history))

    encoding = job.splits["train"].encoding
    description = {
        "factory": train.factory,
        "arguments": train.arguments,
        "classes": encoding.classes,
        "shape": encoding.shape,
    }
    write_tensors(workspace.weights, job.model.state_dict(), description)
    metrics: dict[str, object] = {
        "epochs": state.epoch if state else 0,
        "best_epoch": state.best_epoch if state else 0,
        "parameters": sum(parameter.numel() for parameter in job.model.parameters()),
    }
    for name, result in results.items():
        metrics[name] = {"loss": result.mean_loss, "accuracy": result.accuracy}
    write_json(workspace.model_metrics, metrics)


def _inputs(workspace: Workspace) -> list[Path]:
    return [workspace.encoding, *(workspace.split(name) for name in SPLITS)]


def _single(results: dict[SplitName, Evaluation]) -> EpochResult:
    training, validation = results["train"], results["validation"]
    return EpochResult(0, training.mean_loss, training.accuracy, validation.mean_loss, validation.accuracy)


def _curve(history: list[EpochResult]) -> str:
    """Loss and accuracy of both splits after every epoch, as CSV: one column a line that `dvc plots` draws."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["train_loss", "validation_loss", "train_accuracy", "validation_accuracy"]
    writer.writerow(["epoch", *columns])
    for result in history:
        writer.writerow([result.epoch, *(f"{getattr(result, column):.6g}" for column in columns)])
    return text.getvalue()


if __name__ == "__main__":
    main("train", run)
