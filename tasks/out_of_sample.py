"""What those say of an example's class that have not seen its label, and what follows of the label."""

import numpy as np
import torch
from torch import Tensor

from influence.detection import ClassEvidence, FoldRegressions, Standardiser, learn_error_model
from tasks.draws import draws
from tasks.errors import UserError

PENALTIES = (1e-2, 1e-3, 1e-4)  # of the cross-validated top layer; the validation loss chooses


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
    best, smallest = None, np.inf
    for penalty in PENALTIES:
        regressions = FoldRegressions(rows, labels, classes, torch.from_numpy(fold).to(labels.device), penalty)
        logs = regressions.of(held_out_rows).cpu().numpy()
        loss = -float(logs[:, np.arange(len(held_out_labels)), held_out_labels].mean())
        if loss < smallest:
            best, smallest = (regressions.held_out().cpu().numpy(), logs), loss
    if best is None:
        raise UserError(
            "the cross-validated top layer did not converge: set `flag.folds: 0`, or look for huge features"
        )
    return best


class Witnesses:
    """Sources of class probabilities, weighed by how well they read the validation examples.

    Args:
        given: labels of the training examples as they stand there, class indices, [N].
        held_out: labels of the validation examples, [V], taken to be right.
        half: of the training examples, bool [N]; see `influence.detection.learn_error_model`.
    """

    def __init__(self, given: np.ndarray, held_out: np.ndarray, half: np.ndarray) -> None:
        self.given, self.labels, self.half = given, held_out, half
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

    def posterior(self) -> np.ndarray:
        """P(true label | what all sources say, label that stands there), [N, C]."""
        opinions = max(len(logs) for logs in self._held_out)
        classes = self._train[0].shape[1]
        repeated = [np.broadcast_to(logs, (opinions, *logs.shape[1:])).reshape(-1, classes) for logs in self._held_out]
        evidence = ClassEvidence(repeated, np.tile(self.labels, opinions))
        probabilities = evidence.probabilities(self._train)
        return learn_error_model(probabilities, self.given, self.half).posterior(probabilities, self.given)[0]
