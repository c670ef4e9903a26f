"""The simple signals beside the flags: what each would have listed, and what each finds of planted errors."""

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from tasks.reporting.detection import Detection, evaluate

DETECTORS = {  # name in report/metrics.json: column of flags/signals.parquet
    "loss": "loss",
    "margin": "negative_margin",
    "mean_margin": "negative_mean_margin",
    "self_influence": "self_influence",
    "validation_harm": "validation_harm",
    "leave_one_out": "leave_one_out_loss",
    "neighbours": "neighbour_disagreement",
    "confident_learning": "confident_learning",
    "error_model": "error_log_odds",
    "model_error_model": "model_error_log_odds",
    "mean_margin_error_model": "mean_margin_log_odds",
}
RANKED = ("loss", "self_influence", "neighbours", "confident_learning")  # those whose ranks stand beside each flag


def computed(signals: pa.Table) -> dict[str, np.ndarray]:
    """Each signal that was computed, float [N]; larger is more suspect."""
    found = {name: signals[column] for name, column in DETECTORS.items() if not signals[column].null_count}
    return {name: column.to_numpy() for name, column in found.items()}


def ranks(scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rank that each signal in RANKED gives every example, int [N]; 1 is the most suspect, and ties share one."""
    return {name: rankdata(-scores[name], method="min").astype(int) for name in RANKED if name in scores}


def shared(scores: dict[str, np.ndarray], flagged: np.ndarray) -> dict[str, float]:
    """The share of the flags that each signal would have listed too, had it listed as many.

    Args:
        scores: by name, float [N]; larger is more suspect.
        flagged: bool [N].
    """
    if not flagged.any() or flagged.all():
        return {}
    return {name: detection.precision for name, detection in evaluate(scores, flagged).items()}


def detections(scores: dict[str, np.ndarray], rank: np.ndarray, planted: np.ndarray) -> dict[str, Detection] | None:
    """What the flags' order and each signal find of the planted errors; None where none was planted.

    Args:
        scores: by name, float [N]; larger is more suspect.
        rank: of the list, int [N]; 1 is the most suspect.
        planted: bool [N].
    """
    if not planted.any() or planted.all():
        return None
    return evaluate({"flags": -rank, **scores}, planted)
