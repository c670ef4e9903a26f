"""How well a score finds errors whose truth is known: recall by share inspected, AUROC, average precision."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

PERCENTAGES = tuple(range(1, 31))  # of the examples inspected, most suspect first
RANDOM = "random"


@dataclass(frozen=True)
class Detection:
    """What one score finds.

    Attributes:
        recall: share of the errors found when the given percentage of all examples is inspected, in [0, 1].
        precision: share of errors among the first as many examples as there are errors.
        auroc: probability that an error scores higher than a sound example; 0.5 is chance.
        average_precision: area under precision against recall; the share of errors is chance.
    """

    recall: dict[int, float]
    precision: float
    auroc: float
    average_precision: float


def evaluate(scores: Mapping[str, np.ndarray], planted: np.ndarray) -> dict[str, Detection]:
    """Score every detector against the truth, and add `random`: inspection in a random order, exactly.

    Examples with equal scores count as inspected in a random order and the expectation is reported, so that
    the order of the rows decides nothing.

    Args:
        scores: by name, float [N]; larger is more suspect.
        planted: bool [N]; true where the label is known to be wrong.

    Raises:
        ValueError: there is no error or nothing but errors, a shape differs, or a score is not finite.
    """
    planted = np.asarray(planted, dtype=bool)
    if not planted.any() or planted.all():
        raise ValueError("a detector can be scored only where some labels are wrong and some are right")
    for name, score in scores.items():
        if score.shape != planted.shape:
            raise ValueError(f"score {name!r} has shape {score.shape}, the truth {planted.shape}")
        if not np.isfinite(score).all():
            raise ValueError(f"score {name!r} holds NaN or infinity")
    detections = {name: _evaluate_one(np.asarray(score), planted) for name, score in scores.items()}
    return {**detections, RANDOM: _evaluate_one(np.zeros(len(planted)), planted)}


def _evaluate_one(score: np.ndarray, planted: np.ndarray) -> Detection:
    found = _expected_found(score, planted)
    inspected = np.array(PERCENTAGES) / 100 * len(planted)
    recall = np.interp(inspected, np.arange(len(planted) + 1), found) / planted.sum()
    return Detection(
        recall=dict(zip(PERCENTAGES, recall.tolist(), strict=True)),
        precision=float(found[planted.sum()] / planted.sum()),
        auroc=float(roc_auc_score(planted, score)),
        average_precision=float(average_precision_score(planted, score)),
    )


def _expected_found(score: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Errors expected among the first 0, 1, ..., N examples inspected, float [N + 1]."""
    _, group = np.unique(-score, return_inverse=True)  # group 0 is the most suspect
    size = np.bincount(group)
    share = np.bincount(group, weights=planted) / size  # of errors in each group of ties
    return np.concatenate([[0.0], np.cumsum(np.repeat(share, size))])
