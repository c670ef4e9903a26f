"""What those say of an example's class that have not seen its label, and what follows of the label."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from influence.detection import (
    ClassEvidence,
    ErrorModel,
    FoldRegressions,
    Standardiser,
    fit_class_evidence,
    fit_error_model,
    learn_error_model,
    match_frequencies,
    read_better,
)
from tasks.draws import draws
from tasks.errors import UserError
from tasks.progress import Progress

ONE_RATE = 1e6  # further errors of each pair of classes, see `influence.detection.error_model`: all have the same rate
PENALTIES = (1e-2, 1e-3, 1e-4)  # of the cross-validated top layer: smaller ones as long as the held-out loss falls


def folds_of(ids: list[str], folds: int, seed: int) -> np.ndarray:
    """The fold of every example, int64 [N]: of equal size, decided by ids and not by the order of rows."""
    place = np.empty(len(ids), dtype=np.int64)
    place[np.argsort(draws("fold", seed, ids), kind="stable")] = np.arange(len(ids))
    return place % folds


def cross_validate(
    features: Tensor,
    labels: Tensor,
    classes: int,
    fold: np.ndarray,
    held_out_features: Tensor,
    held_out_labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The top layer trained anew without each fold, with the penalty under which it reads the validation examples best.

    Args:
        features, labels: of the training examples, [N, D] and [N].
        classes: C.
        fold: of every training example, [N].
        held_out_features, held_out_labels: of the validation examples, [V, D] and [V].

    Returns:
        log-probabilities of the training examples by the layer that has not seen them, [N, C], and of the validation
        examples by the layer of every fold, [K, V, C].

    Raises:
        UserError: no fit is finite.
    """
    standardise = Standardiser(features)
    rows, held_out_rows = standardise(features).double(), standardise(held_out_features).double()

    def loss(regressions: FoldRegressions) -> float:
        logs = regressions.of(held_out_rows).cpu().numpy()
        return -float(logs[:, np.arange(len(held_out_labels)), held_out_labels].mean())

    best = _best_penalty(rows, labels, classes, fold, loss)
    return best.held_out().cpu().numpy(), best.of(held_out_rows).cpu().numpy()


def learn_from_validation(
    features: Tensor, classes: int, fold: np.ndarray, held_out_features: Tensor, held_out_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A top layer trained on the validation examples, whose labels are right: no training error has misled it.

    Args:
        features: of the training examples, [N, D].
        classes: C.
        fold: of every validation example, [V]; a layer is trained without each.
        held_out_features, held_out_labels: of the validation examples, [V, D] and [V].

    Returns:
        log-probabilities of the training examples, the layers in turn, [N, C], and of the validation examples by the
        layer that has not seen them, [1, V, C].

    Raises:
        UserError: no fit is finite.
    """
    standardise = Standardiser(features)
    labels = torch.from_numpy(held_out_labels).to(features.device)

    def loss(regressions: FoldRegressions) -> float:
        return -float(regressions.held_out()[torch.arange(len(labels)), labels].mean())

    best = _best_penalty(standardise(held_out_features).double(), labels, classes, fold, loss)
    logs, rows = best.of(standardise(features).double()).cpu().numpy(), np.arange(len(features))
    return logs[rows % len(logs), rows], best.held_out().cpu().numpy()[None]


def _best_penalty(
    rows: Tensor, labels: Tensor, classes: int, fold: np.ndarray, loss: Callable[[FoldRegressions], float]
) -> FoldRegressions:
    """The regressions of the penalty after which the loss no longer falls.

    Raises:
        UserError: no fit is finite.
    """
    parts, best, smallest, found = torch.from_numpy(fold).to(labels.device), None, np.inf, None
    progress = Progress("flag: top layers without each fold", len(PENALTIES), "penalties")
    for penalty in PENALTIES:
        found = FoldRegressions(rows, labels, classes, parts, penalty, start=found)
        value = loss(found)
        progress.advance(1)
        if not value < smallest:
            break
        best, smallest = found, value
    if best is None:
        raise UserError(
            "the cross-validated top layer did not converge: set `flag.folds: 0`, or look for huge features"
        )
    return best


@dataclass(frozen=True)
class Belief:
    """What some sources make of the training examples.

    Attributes:
        classes: probabilities of the true class before the label that stands there is looked at, [N, C].
        errors: how labels go wrong.
        posterior: P(true label | what the sources say, label that stands there), [N, C].
    """

    classes: np.ndarray
    errors: ErrorModel
    posterior: np.ndarray


class Witnesses:
    """Sources of class probabilities, weighed by how well they read the validation examples.

    How labels go wrong is learned from the labels as they came, those included that a review has mended since: what is
    left of the errors in a set that was mended in part would tell of too few.

    Args:
        given: labels of the training examples as they stand there, class indices, [N].
        held_out: those of the validation examples, [V].
        half: of the training examples, bool [N]; see `influence.detection.learn_error_model`.
        came: labels of the training examples before any verdict, [N]; None: as they stand.
    """

    def __init__(
        self, given: np.ndarray, held_out: np.ndarray, half: np.ndarray, came: np.ndarray | None = None
    ) -> None:
        self.given, self.labels, self.half = given, held_out, half
        self.came = given if came is None else came
        self._train: list[np.ndarray] = []
        self._held_out: list[np.ndarray] = []

    def add(self, train: np.ndarray, held_out: np.ndarray) -> None:
        """Add one source.

        Args:
            train: its log-probabilities of the training examples, [N, C].
            held_out: of the validation examples, [K, V, C]: several opinions where the source is several models, of
                which a training example hears one. (An average of them would be better than what that one gets.)
        """
        self._train.append(train)
        self._held_out.append(held_out)

    def trust_validation(self) -> bool:
        """Whether validation labels are read better than training labels as they came: else they are as wrong.

        It has a meaning as long as no source has seen the training labels it speaks of.
        """
        return read_better(self._one_opinion(), self.labels, self._train, self.came)

    def belief(self, trusted: bool) -> Belief:
        """What all sources added so far say together.

        Args:
            trusted: whether the validation labels are taken to be right; see `trust_validation`.
        """
        classes, errors = self._by_right_labels() if trusted else self._by_labels_as_wrong()
        return Belief(classes, errors, errors.posterior(classes, self.given)[0])

    def _by_right_labels(self) -> tuple[np.ndarray, ErrorModel]:
        opinions = max(len(logs) for logs in self._held_out)
        shape = (opinions * len(self.labels), self._train[0].shape[1])
        repeated = [np.broadcast_to(logs, (opinions, *logs.shape[1:])).reshape(shape) for logs in self._held_out]
        classes = ClassEvidence(repeated, np.tile(self.labels, opinions)).probabilities(self._train)
        return classes, learn_error_model(classes, self.came, self.half)

    def _by_labels_as_wrong(self) -> tuple[np.ndarray, ErrorModel]:
        # One opinion an example: the errors of one example are not to be counted as several.
        evidence, as_they_stand = fit_class_evidence(self._one_opinion(), self.labels)
        classes = evidence.probabilities(self._train)
        if not as_they_stand:
            return classes, learn_error_model(classes, self.came, self.half)
        # These are probabilities of labels that go wrong as those of training do, so nothing is left to tell which
        # classes are mistaken for which: what looks so is that the few labels of validation differ by chance.
        counts = np.bincount(self.came, minlength=classes.shape[1])
        classes = match_frequencies(classes, counts / len(self.came))
        return classes, fit_error_model(classes, self.came, pull=0.0, pseudo=ONE_RATE)

    def _one_opinion(self) -> list[np.ndarray]:
        """Of every source what one of its models says of each validation example, the models in turn, [V, C]."""
        rows = np.arange(len(self.labels))
        return [logs[rows % len(logs), rows] for logs in self._held_out]
