"""What speaks against the label of every training example: the signals, gathered from artifacts or computed."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from influence.detection import (
    ClassEvidence,
    FoldRegressions,
    Neighbours,
    Standardiser,
    conflicting_duplicates,
    disagreement,
    duplicate_radius,
    learn_error_model,
    nearest_neighbours,
    smoothed_votes,
)
from tasks.artifacts import read_table
from tasks.dataset import Split
from tasks.draws import draws
from tasks.errors import UserError
from tasks.parameters import Flag
from tasks.progress import Progress
from tasks.workspace import SplitName, Workspace

PENALTIES = (1e-2, 1e-3, 1e-4)  # of the cross-validated top layer; the validation loss chooses


@dataclass(frozen=True)
class Predictions:
    """What the model says of one split: labels [N], probabilities [N, classes], features [N, D], and its table."""

    table: pa.Table
    labels: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class OutOfFold:
    """Log-probabilities by top layers that have not seen the example: training [N, C], validation [K, V, C]."""

    train: np.ndarray
    validation: np.ndarray


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
        features: of the training examples, [N, D], on the device.
    """

    columns: dict[str, np.ndarray]
    votes: np.ndarray
    posterior: np.ndarray
    out_of_fold: np.ndarray | None
    neighbours: Neighbours
    radius: float
    features: Tensor


def gather_signals(workspace: Workspace, train: Split, settings: Flag, seed: int, device: torch.device) -> Signals:
    """All signals, those of an optional kind as far as `settings` asks for them.

    Raises:
        UserError: an artifact is of another training set.
    """
    own, held_out = load_predictions(workspace, "train", train), load_predictions(workspace, "validation", train)
    scores = _of(workspace, train, read_table(workspace.self_influence))
    features, labels = torch.from_numpy(own.features).to(device), torch.from_numpy(own.labels).to(device)
    held_out_features = torch.from_numpy(held_out.features).to(device)
    classes, fold = len(train.encoding.classes), _folds(train.ids, max(2, settings.folds), seed)

    progress = Progress("flag: neighbours", len(train))
    neighbours = nearest_neighbours(features, settings.neighbours, on_batch=progress.advance)
    votes = neighbours.votes(labels, classes)
    held_out_votes = nearest_neighbours(features, settings.neighbours, held_out_features).votes(labels, classes)
    distances = neighbours.distances.cpu().numpy()
    radius = duplicate_radius(distances[:, 0])

    found = None
    if settings.folds:
        folds = torch.from_numpy(fold).to(device)
        found = _out_of_fold(features, labels, classes, folds, held_out_features, held_out)
    voters = min(settings.neighbours, len(train) - 1)
    evidence = _Evidence(votes.cpu().numpy(), held_out_votes.cpu().numpy(), voters, found)
    posterior = evidence.posterior(own.labels, held_out.labels, fold % 2 == 0)
    evidence.add(_logs(own.probabilities), _logs(held_out.probabilities))
    with_model = evidence.posterior(own.labels, held_out.labels, fold % 2 == 0)
    columns = {
        "loss": _column(own.table, "loss"),
        "negative_margin": -_column(own.table, "margin"),
        "negative_mean_margin": -_mean_margins(workspace, train),
        "self_influence": _column(scores, "self_influence"),
        "validation_harm": -_column(scores, "influence_on_errors"),
        "leave_one_out_loss": _column(scores, "leave_one_out_loss"),
        "neighbour_disagreement": disagreement(votes, labels).cpu().numpy(),
        "duplicate_conflict": conflicting_duplicates(
            neighbours.indices.cpu().numpy(), distances, own.labels, own.labels, radius
        ),
        "error_log_odds": _log_odds(posterior, own.labels),
        "model_error_log_odds": _log_odds(with_model, own.labels),
    }
    probabilities = None if found is None else np.exp(found.train)
    if probabilities is not None:
        columns["confident_learning"] = confident_learning(probabilities, own.labels)
    return Signals(columns, votes.cpu().numpy(), posterior, probabilities, neighbours, radius, features)


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


def _folds(ids: list[str], folds: int, seed: int) -> np.ndarray:
    """The fold of every example, int64 [N]: of equal size, decided by ids and not by the order of rows."""
    place = np.empty(len(ids), dtype=np.int64)
    place[np.argsort(draws("fold", seed, ids), kind="stable")] = np.arange(len(ids))
    return place % folds


def _out_of_fold(
    features: Tensor, labels: Tensor, classes: int, fold: Tensor, held_out_features: Tensor, held_out: Predictions
) -> OutOfFold:
    """The top layer cross-validated, with the penalty under which it reads the validation examples best."""
    standardise = Standardiser(features)
    rows, held_out_rows = standardise(features).double(), standardise(held_out_features).double()
    best, smallest = None, np.inf
    for penalty in PENALTIES:
        regressions = FoldRegressions(rows, labels, classes, fold, penalty)
        logs = regressions.of(held_out_rows).cpu().numpy()
        loss = -float(logs[:, np.arange(len(held_out.labels)), held_out.labels].mean())
        if loss < smallest:
            best, smallest = OutOfFold(regressions.held_out().cpu().numpy(), logs), loss
    if best is None:
        raise UserError(
            "the cross-validated top layer did not converge: set `flag.folds: 0`, or look for huge features"
        )
    return best


class _Evidence:
    """Logarithms of class probabilities, of the training examples and of the validation examples that weigh them.

    Each fold speaks of every validation example: an average of them would be better than what training examples get.
    """

    def __init__(self, votes: np.ndarray, held_out_votes: np.ndarray, voters: int, found: OutOfFold | None) -> None:
        self._times = 1 if found is None else len(found.validation)
        self.train, self.held_out = [], []
        self.add(smoothed_votes(votes, voters), smoothed_votes(held_out_votes, voters))
        if found is not None:
            self.train.append(found.train)
            self.held_out.append(found.validation.reshape(-1, votes.shape[1]))

    def add(self, train: np.ndarray, held_out: np.ndarray) -> None:
        """Add a witness that says the same whatever the fold: [N, C] and [V, C]."""
        self.train.append(train)
        self.held_out.append(np.tile(held_out, (self._times, 1)))

    def posterior(self, given: np.ndarray, held_out_labels: np.ndarray, half: np.ndarray) -> np.ndarray:
        """P(true label | evidence, label that stands there), [N, C]."""
        weighed = ClassEvidence(self.held_out, np.tile(held_out_labels, self._times))
        probabilities = weighed.probabilities(self.train)
        return learn_error_model(probabilities, given, half).posterior(probabilities, given)[0]


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


def _mean_margins(workspace: Workspace, train: Split) -> np.ndarray:
    return _rows(_of(workspace, train, read_table(workspace.epoch_margins))["margins"]).mean(axis=1)


def _column(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table[name].to_numpy()
    return values


def _rows(column: pa.ChunkedArray) -> np.ndarray:
    """Lists of one length as a matrix."""
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    return flat.reshape(len(column), -1).copy()
