"""What speaks against the label of every training example: the signals, gathered from artifacts or computed."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from influence.detection import (
    Neighbours,
    conflicting_duplicates,
    disagreement,
    duplicate_radius,
    margin_log_odds,
    nearest_neighbours,
    smoothed_votes,
)
from tasks.artifacts import read_table
from tasks.dataset import Split
from tasks.errors import UserError
from tasks.out_of_sample import Witnesses, cross_validate, folds_of, learn_from_validation
from tasks.parameters import Flag
from tasks.progress import Progress
from tasks.workspace import SplitName, Workspace


@dataclass(frozen=True)
class Predictions:
    """What the model says of one split: labels [N], probabilities [N, classes], features [N, D], and its table."""

    table: pa.Table
    labels: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Signals:
    """Every training example's signals and what they were made of, in the order of the training split.

    Attributes:
        columns: by name, [N], each larger for a more suspect example.
        votes: shares of the neighbours' labels, [N, C].
        posterior: P(true label | out-of-sample evidence, label that stands there), [N, C].
        out_of_fold: probabilities by top layers that have not seen the example, [N, C]; None: not asked for.
        neighbours: nearest training examples of the training examples.
        radius: distance below which two examples are near-duplicates.
        validation_trusted: whether the validation labels were taken to be right; see `Witnesses.trust_validation`.
        features: of the training examples, [N, D], on the device.
    """

    columns: dict[str, np.ndarray]
    votes: np.ndarray
    posterior: np.ndarray
    out_of_fold: np.ndarray | None
    neighbours: Neighbours
    radius: float
    features: Tensor
    validation_trusted: bool


def gather_signals(workspace: Workspace, train: Split, settings: Flag, seed: int, device: torch.device) -> Signals:
    """All signals, those of an optional kind as far as `settings` asks for them.

    Raises:
        UserError: an artifact is of another training set.
    """
    own, held_out = load_predictions(workspace, "train", train), load_predictions(workspace, "validation", train)
    scores = _of(workspace, train, read_table(workspace.self_influence))
    features, labels = torch.from_numpy(own.features).to(device), torch.from_numpy(own.labels).to(device)
    held_out_features = torch.from_numpy(held_out.features).to(device)
    classes, fold = len(train.encoding.classes), folds_of(train.ids, max(2, settings.folds), seed)

    progress = Progress("flag: neighbours", len(train))
    neighbours = nearest_neighbours(features, settings.neighbours, on_batch=progress.advance)
    votes = neighbours.votes(labels, classes)
    held_out_votes = nearest_neighbours(features, settings.neighbours, held_out_features).votes(labels, classes)
    distances = neighbours.distances.cpu().numpy()
    radius = duplicate_radius(distances[:, 0])

    came = _labels_that_came(workspace, train)
    witnesses = Witnesses(own.labels, held_out.labels, half=fold % 2 == 0, came=came)
    voters, out_of_fold = min(settings.neighbours, len(train) - 1), None
    witnesses.add(
        smoothed_votes(votes.cpu().numpy(), voters), smoothed_votes(held_out_votes.cpu().numpy(), voters)[None]
    )
    if settings.folds:
        unseen, held_out_unseen = cross_validate(features, labels, classes, fold, held_out_features, held_out.labels)
        witnesses.add(unseen, held_out_unseen)
        out_of_fold = np.exp(unseen)
    trusted = witnesses.trust_validation()
    if trusted and settings.folds:
        held_out_fold = folds_of(held_out.table["example_id"].to_pylist(), settings.folds, seed)
        witnesses.add(*learn_from_validation(features, classes, held_out_fold, held_out_features, held_out.labels))
    posterior = witnesses.belief(trusted).posterior
    witnesses.add(_logs(own.probabilities), _logs(held_out.probabilities)[None])
    with_model = witnesses.belief(trusted)
    mean_margins = _mean_margins(workspace, train)
    columns = {
        "loss": _column(own.table, "loss"),
        "negative_margin": -_column(own.table, "margin"),
        "negative_mean_margin": -mean_margins,
        "self_influence": _column(scores, "self_influence"),
        "validation_harm": -_column(scores, "influence_on_errors"),
        "leave_one_out_loss": _column(scores, "leave_one_out_loss"),
        "neighbour_disagreement": disagreement(votes, labels).cpu().numpy(),
        "duplicate_conflict": conflicting_duplicates(
            neighbours.indices.cpu().numpy(), distances, own.labels, own.labels, radius
        ),
        "error_log_odds": _log_odds(posterior, own.labels),
        "model_error_log_odds": _log_odds(with_model.posterior, own.labels),
        "mean_margin_log_odds": margin_log_odds(mean_margins, with_model.classes, own.labels, with_model.errors),
    }
    if out_of_fold is not None:
        columns["confident_learning"] = confident_learning(out_of_fold, own.labels)
    return Signals(columns, votes.cpu().numpy(), posterior, out_of_fold, neighbours, radius, features, trusted)


def load_predictions(workspace: Workspace, split: SplitName, train: Split) -> Predictions:
    """What the model says of one split, in its order.

    Raises:
        UserError: the predictions are of another training set.
    """
    table = read_table(workspace.predictions)
    table = table.filter(pc.equal(table["split"], split))
    if split == "train":
        table = _of(workspace, train, table)
    index = {label: position for position, label in enumerate(train.encoding.classes)}
    labels = np.array([index[label] for label in table["label"].to_pylist()], dtype=np.int64)
    return Predictions(table, labels, _rows(table["probabilities"]), _rows(table["features"]))


def confident_learning(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 - cleanlab's label quality score (self-confidence), [N], of out-of-sample probabilities [N, C]."""
    from cleanlab.rank import get_label_quality_scores

    normalised = probabilities.astype(np.float64) / probabilities.sum(axis=1, keepdims=True)
    return 1.0 - np.asarray(get_label_quality_scores(labels, normalised))


def _logs(probabilities: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), 1e-9))
    return found


def _log_odds(posterior: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Of the given label being wrong, [N]."""
    right = np.clip(posterior[np.arange(len(given)), given], 1e-12, 1.0 - 1e-12)
    found: np.ndarray = np.log1p(-right) - np.log(right)
    return found


def _of(workspace: Workspace, train: Split, table: pa.Table) -> pa.Table:
    if table["example_id"].to_pylist() != train.ids:
        raise UserError(
            f"{workspace.split('train')} was prepared anew since the model's artifacts: rerun train and score"
        )
    return table


def _labels_that_came(workspace: Workspace, train: Split) -> np.ndarray:
    """Class indices of the training examples as the data gave them, before any verdict, [N]."""
    index = {label: position for position, label in enumerate(train.encoding.classes)}
    given = _of(workspace, train, read_table(workspace.split("train"), ["example_id", "given_label"]))["given_label"]
    return np.array([index[label] for label in given.to_pylist()], dtype=np.int64)


def _mean_margins(workspace: Workspace, train: Split) -> np.ndarray:
    return _rows(_of(workspace, train, read_table(workspace.epoch_margins))["margins"]).mean(axis=1)


def _column(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table[name].to_numpy()
    return values


def _rows(column: pa.ChunkedArray) -> np.ndarray:
    """Lists of one length as a matrix."""
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    return flat.reshape(len(column), -1).copy()
