"""What a model says of a split: losses, margins, probabilities, features."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from influence.memory import activations_per_example
from influence.objective import Objective
from influence.problem import Problem
from tasks.artifacts import PREDICTIONS
from tasks.dataset import Split
from tasks.errors import UserError
from tasks.features import FeatureRecorder, Projection
from tasks.workspace import SplitName

LARGEST_BATCH = 512


@dataclass(frozen=True)
class Evaluation:
    """Results of a split, in its order.

    Attributes:
        mean_loss: nats, without regularisation.
        accuracy: share predicted right.
        margins: margin of each example's label, float32 [N] on the CPU.
    """

    mean_loss: float
    accuracy: float
    margins: Tensor


def evaluate(model: nn.Module, split: Split, objective: Objective, batch_size: int) -> Evaluation:
    """Evaluate a model in evaluation mode, in which it stays."""
    device = next(model.parameters()).device
    model.eval()
    losses, right, margins = [], [], []
    with torch.no_grad():
        for inputs, targets in split.batches(batch_size, device):
            outputs = model(inputs)
            losses.append(objective.loss(outputs, targets))
            right.append(outputs.argmax(dim=-1) == targets)
            margins.append(objective.margin(outputs, targets))
    return Evaluation(
        mean_loss=torch.cat(losses).double().mean().item(),
        accuracy=torch.cat(right).double().mean().item(),
        margins=torch.cat(margins).float().cpu(),
    )


def evaluation_batch(model: nn.Module, split: Split, objective: Objective, memory: int) -> int:
    """How many examples to evaluate at once, so that inputs and all activations fit in `memory` bytes."""
    inputs, _ = split.batch(slice(0, 1), next(model.parameters()).device)
    values = activations_per_example(Problem(model, objective), inputs)
    return max(1, min(LARGEST_BATCH, memory // (2 * 4 * values)))


def check_features(model: nn.Module, split: Split, features: str | None) -> None:
    """Try on one example whether the model has the features asked for.

    Raises:
        UserError: it has not.
    """
    inputs, _ = split.batch(slice(0, 1), next(model.parameters()).device)
    model.eval()
    with FeatureRecorder(model, features) as recorder, torch.no_grad():
        recorder.take(model(inputs))


def predictions(
    model: nn.Module,
    splits: Mapping[SplitName, Split],
    objective: Objective,
    features: str | None,
    seed: int,
    batch_size: int,
) -> pa.Table:
    """Loss, margin, probabilities and features of every example, in the order of the splits.

    Args:
        model: the trained model; it is put in evaluation mode.
        splits: the examples.
        objective: gives loss and margin.
        features: name of the module whose input is the feature vector; None: the last linear layer.
        seed: of the projection of features that are too wide, see `Projection`.
        batch_size: examples at once.

    Raises:
        UserError: an example's loss is not finite, or the features are not there.
    """
    model.eval()
    projection = Projection(seed)
    with FeatureRecorder(model, features) as recorder:
        parts = [
            part
            for name, split in splits.items()
            for part in _predicted(model, name, split, objective, recorder, projection, batch_size)
        ]
    return pa.concat_tables(parts)


def _predicted(
    model: nn.Module,
    name: SplitName,
    split: Split,
    objective: Objective,
    recorder: FeatureRecorder,
    projection: Projection,
    batch_size: int,
) -> Iterator[pa.Table]:
    device = next(model.parameters()).device
    classes = np.array(split.encoding.classes, dtype=object)
    start = 0
    for inputs, targets in split.batches(batch_size, device):
        with torch.no_grad():
            outputs = model(inputs)
            losses, margins = objective.loss(outputs, targets), objective.margin(outputs, targets)
            features = projection(recorder.take(outputs))
        ids = split.ids[start : start + len(inputs)]
        start += len(inputs)
        for example_id, finite in zip(ids, (losses.isfinite() & margins.isfinite()).tolist(), strict=True):
            if not finite:
                raise UserError(
                    f"the model's loss on example {example_id!r} of {name} is not finite: "
                    "its weights or this example's input are out of range"
                )
        columns = {
            "example_id": pa.array(ids, pa.string()),
            "split": pa.array([name] * len(ids), pa.string()),
            "label": pa.array(classes[targets.cpu().numpy()], pa.string()),
            "predicted": pa.array(classes[outputs.argmax(dim=-1).cpu().numpy()], pa.string()),
            "loss": losses.float().cpu().numpy(),
            "margin": margins.float().cpu().numpy(),
            "probabilities": rows_as_lists(outputs.softmax(dim=-1)),
            "features": rows_as_lists(features),
        }
        yield pa.table(columns, schema=PREDICTIONS)


def rows_as_lists(rows: Tensor) -> pa.ListArray:
    """A matrix [N, D] as N lists of D numbers."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.float().cpu().numpy().reshape(-1)))
