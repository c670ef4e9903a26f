"""Why an example was flagged, in one line."""

import math
from collections.abc import Mapping

import numpy as np


def reasons(
    classes: list[str], signals: Mapping[str, np.ndarray], votes: np.ndarray, neighbours: int, rows: np.ndarray
) -> list[str]:
    """One line for each of the examples at `rows`: its loss, its neighbours, and its self-influence where that is rare.

    Args:
        classes: names of the labels.
        signals: `loss` and `self_influence` of every training example, [N].
        votes: shares of the neighbours' labels, [N, classes].
        neighbours: how many neighbours were asked for.
        rows: positions of the examples to explain.
    """
    own = signals["self_influence"]
    voters = min(neighbours, len(own) - 1)
    share_above = 1.0 - (np.argsort(np.argsort(own)) + 1) / len(own)
    lines = []
    for row in rows:
        favourite = int(votes[row].argmax())
        parts = [
            f"loses {signals['loss'][row]:.1f} nats",
            f"{round(votes[row, favourite] * voters)} of its {voters} nearest neighbours bear {classes[favourite]!r}",
        ]
        if share_above[row] < 0.05:
            parts.append(f"self-influence among the top {math.ceil(100 * share_above[row] + 1e-9)} %")
        lines.append("; ".join(parts))
    return lines
