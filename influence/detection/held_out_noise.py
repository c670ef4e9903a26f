"""Held-out labels that may be as wrong as the training labels.

Where both go wrong in the same way, evidence fitted to the held-out labels expects their errors, and no training error
is left to see. Two things tell more. Right labels agree better with out-of-sample evidence than labels of which some
are wrong: where the agreement is no better than in training, the held-out labels are not to be trusted. And a label
changed at random is improbable however clear the example is, so the rates of such errors can be found together with
the weights of the evidence. Errors that follow the features cannot: they look like examples that are hard to tell.
"""

from collections.abc import Sequence

import numpy as np

from influence.detection.class_evidence import ClassEvidence
from influence.detection.error_model import ErrorModel, fit_error_model

STANDARD_ERRORS = 2.0  # by which right labels must be read better than training labels
# Further errors of each pair of classes, see `influence.detection.error_model`; None: the labels are right.
PSEUDO = (None, 1000.0, 0.1)
STARTS = (0.02, 0.2)  # shares of errors: the likelihood may have several maxima
ITERATIONS, TOLERANCE = 40, 1e-5
FOLDS = 3


def read_better(
    held_out: Sequence[np.ndarray], labels: np.ndarray, training: Sequence[np.ndarray], given: np.ndarray
) -> bool:
    """Whether out-of-sample evidence reads the held-out labels better than those of training, beyond chance.

    The measure is the loss, a mean over the kinds of evidence; the difference must exceed two standard errors.

    Args:
        held_out, training: evidence in logarithms, the same kinds, each [M, C] and [N, C], of the same quality.
        labels, given: class indices as they stand there, [M] and [N].
    """
    losses = [
        -np.mean([logs[np.arange(len(own)), own] for logs in kinds], axis=0)
        for kinds, own in ((held_out, labels), (training, given))
    ]
    error = sum(float(loss.var()) / len(loss) for loss in losses) ** 0.5
    return float(losses[1].mean() - losses[0].mean()) > STANDARD_ERRORS * error


def fit_class_evidence(evidence: Sequence[np.ndarray], labels: np.ndarray) -> tuple[ClassEvidence, bool]:
    """The weights of the evidence where the held-out labels may go wrong by unknown rates, class by class.

    Rates of each pair of classes, or one for all, are believed if, cross-validated, they make labels that were not seen
    more probable than weights alone do. With evidence too weak for that, the labels are taken to be right.

    Args:
        evidence: of held-out examples, each [M, C], in logarithms.
        labels: class indices as they stand there, [M].

    Returns:
        the evidence, and whether it is of the labels as they stand there, rates of errors not being believed.
    """
    likelihoods = [_unseen_likelihood(evidence, labels, pseudo) for pseudo in PSEUDO]
    pseudo = PSEUDO[int(np.argmax(likelihoods))]
    return _fit(evidence, labels, pseudo)[0], pseudo is None


def _unseen_likelihood(evidence: Sequence[np.ndarray], labels: np.ndarray, pseudo: float | None) -> float:
    """Log-likelihood of labels by what the others teach, cross-validated, summed."""
    fold, total = np.arange(len(labels)) % FOLDS, 0.0
    for part in (fold == one for one in range(min(FOLDS, len(labels)))):
        found, model = _fit([logs[~part] for logs in evidence], labels[~part], pseudo)
        unseen = found.probabilities([logs[part] for logs in evidence])
        total += float(model.posterior(unseen, labels[part])[1].sum())
    return total


def _fit(evidence: Sequence[np.ndarray], labels: np.ndarray, pseudo: float | None) -> tuple[ClassEvidence, ErrorModel]:
    """Weights and rates found in turn, until the labels that stand there become no more probable."""
    classes = evidence[0].shape[1]
    if pseudo is None:
        return ClassEvidence(evidence, labels), ErrorModel(np.zeros((classes, classes)), 0.0)
    best, highest = None, -np.inf
    for start in STARTS:
        bears = np.where(np.eye(classes, dtype=bool), 1.0 - start, start / (classes - 1))
        before = -np.inf
        for _ in range(ITERATIONS):
            found = ClassEvidence(evidence, labels, bears)
            probabilities = found.probabilities(evidence)
            model = fit_error_model(probabilities, labels, 0.0, pseudo)
            bears = model.rates + np.diag(1.0 - model.rates.sum(axis=1))
            likelihood = float(model.posterior(probabilities, labels)[1].mean())
            if likelihood > highest:
                best, highest = (found, model), likelihood
            if likelihood - before < TOLERANCE:
                break
            before = likelihood
    assert best is not None  # a likelihood is finite, see `ErrorModel.posterior`
    return best
