"""Why an example was flagged, in one line."""

import math

import numpy as np

from tasks.evidence import OPPONENTS, Evidence
from tasks.signals import Signals

RARE = 0.05  # of the training set: a signal among the highest of these is told


def reasons(
    classes: list[str],
    signals: Signals,
    neighbours: int,
    rows: np.ndarray,
    suggested: np.ndarray,
    evidence: Evidence,
) -> list[str]:
    """One line for each of the examples at `rows`: its loss and its neighbours, and what else is strong.

    Args:
        classes: names of the labels.
        signals: of every training example.
        neighbours: how many neighbours were asked for.
        rows: positions of the examples to explain, [F].
        suggested: class index suggested for each of them, [F].
        evidence: of each of them.
    """
    columns, votes = signals.columns, signals.votes
    voters = min(neighbours, len(votes) - 1)
    above = {name: _share_above(columns[name]) for name in ("self_influence", "validation_harm")}
    lines = []
    for place, row in enumerate(rows):
        favourite = int(votes[row].argmax())
        label = classes[suggested[place]]
        parts = [
            f"loses {columns['loss'][row]:.1f} nats",
            f"{round(votes[row, favourite] * voters)} of its {voters} nearest neighbours bear {classes[favourite]!r}",
        ]
        if signals.out_of_fold is not None:
            parts.append(
                f"a top layer that never saw it says {label!r}, {_percent(signals.out_of_fold[row, suggested[place]])}"
            )
        if columns["duplicate_conflict"][row] > 0:
            parts.append("a near-duplicate bears another label")
        opponents = evidence.opponents_suggested[place]
        if opponents is not None and opponents >= 0.5:
            parts.append(f"{round(opponents * OPPONENTS)} of its {OPPONENTS} strongest opponents bear {label!r}")
        if columns["validation_harm"][row] > 0 and above["validation_harm"][row] < RARE:
            parts.append("harms the misread validation examples")
        if above["self_influence"][row] < RARE:
            parts.append(f"self-influence among the top {math.ceil(100 * above['self_influence'][row] + 1e-9)} %")
        lines.append("; ".join(parts))
    return lines


def _share_above(values: np.ndarray) -> np.ndarray:
    """Share of the examples with a larger value, [N]."""
    found: np.ndarray = 1.0 - (np.argsort(np.argsort(values)) + 1) / len(values)
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
