"""Which label an example should have had."""

import numpy as np


def suggest(posterior: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most probable label other than the given one, [N], and its share of all other labels' probability, [N].

    Args:
        posterior: probability of each label, [N, classes].
        given: class indices, [N].
    """
    rows = np.arange(len(given))
    others = np.maximum(posterior, 1e-12)
    others[rows, given] = 0.0
    label = others.argmax(axis=1)
    return label, others[rows, label] / others.sum(axis=1)
