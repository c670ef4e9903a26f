"""What margins say of an error, where it is known how labels go wrong."""

import numpy as np

from influence.detection.error_model import ErrorModel


def margin_log_odds(margins: np.ndarray, probabilities: np.ndarray, given: np.ndarray, model: ErrorModel) -> np.ndarray:
    """Log-odds, [N], that an example is of its likeliest other class k and not of the class y that stands there.

    By Bayes' rule, log p_k / p_y + log T_ky / T_yy. A margin is log p_y / p_k in units of its own, perhaps those of a
    model that was still learning; a straight line by least squares takes it to the units of the evidence.

    Args:
        margins: of the label that stands there, [N].
        probabilities: of the true classes, [N, C], the evidence.
        given: the labels that stand there, class indices, [N].
        model: of the errors.
    """
    rows, logs = np.arange(len(given)), np.log(np.maximum(probabilities, 1e-12))
    others = logs.copy()
    others[rows, given] = -np.inf
    other = others.argmax(axis=1)
    ratio = logs[rows, other] - logs[rows, given]
    centred = margins.astype(np.float64) - margins.mean(dtype=np.float64)
    slope = float(centred @ ratio) / max(float(centred @ centred), 1e-12)
    bears = np.log(np.maximum(model.bears(probabilities, given), 1e-12))
    found: np.ndarray = ratio.mean() + slope * centred + bears[rows, other] - bears[rows, given]
    return found
