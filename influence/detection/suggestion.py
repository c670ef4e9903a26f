"""Which label an example should have had."""

import numpy as np


def label_posterior(probabilities: np.ndarray, votes: np.ndarray, neighbours: int) -> np.ndarray:
    """What the model and the neighbours together say of each label, [N, classes]; each row sums to 1.

    The geometric mean of the model's probabilities and of the neighbours' shares (with one more vote spread over the
    labels, so that a label no neighbour bears is unlikely rather than impossible), normalised.
    """
    smoothed = (votes * neighbours + 1.0 / votes.shape[1]) / (neighbours + 1.0)
    product = np.sqrt(np.maximum(probabilities, 1e-12) * smoothed)
    return product / product.sum(axis=1, keepdims=True)


def suggest(posterior: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most probable label other than the given one, [N], and its share of all other labels' probability, [N]."""
    rows = np.arange(len(given))
    others = posterior.copy()
    others[rows, given] = 0.0
    label = others.argmax(axis=1)
    return label, others[rows, label] / others.sum(axis=1)
