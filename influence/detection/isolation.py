"""Examples that lie too near to another one, or too far from all."""

import numpy as np

DUPLICATE = 0.13  # of the median distance to the nearest neighbour: the threshold of cleanlab's Datalab
SMALLEST_RADIUS = 1e-3  # what rounding in float32 leaves between two equal directions
FENCE = 3.0  # interquartile ranges above the third quartile: Tukey's "far out"


def duplicate_radius(nearest: np.ndarray) -> float:
    """Distance below which two examples are near-duplicates.

    Args:
        nearest: distance of every training example to the nearest other one, [N].
    """
    return max(DUPLICATE * float(np.median(nearest)), SMALLEST_RADIUS)


def conflicting_duplicates(
    indices: np.ndarray, distances: np.ndarray, labels: np.ndarray, own: np.ndarray, radius: float
) -> np.ndarray:
    """Share of each example's near-duplicates that bear another label than its own, [M]; 0 where it has none.

    Args:
        indices, distances: of its nearest labelled examples, [M, K].
        labels: of the labelled examples, [N].
        own: of the examples in question, [M].
        radius: see `duplicate_radius`.
    """
    near = distances < radius
    other = near & (labels[indices] != own[:, None])
    return other.sum(axis=1) / np.maximum(near.sum(axis=1), 1)


def outliers(distances: np.ndarray) -> np.ndarray:
    """Examples whose mean distance to their neighbours is far out of the others', bool [N].

    Args:
        distances: to the nearest other examples, [N, K].
    """
    mean = distances.mean(axis=1)
    first, third = np.quantile(mean, [0.25, 0.75])
    found: np.ndarray = mean > third + FENCE * (third - first)
    return found
