"""Planted label errors: labels changed on purpose, to measure how many of them are found again."""

import numpy as np

from tasks.draws import draws


def corrupt(
    ids: list[str], labels: list[str], classes: list[str], share: float, seed: int
) -> tuple[list[str], np.ndarray]:
    """Give a share of the examples another label, each other class being equally likely.

    Returns:
        the labels, and which of them were changed, bool [N].
    """
    changed = np.zeros(len(ids), dtype=bool)
    chosen = np.argsort(draws("corruption", seed, ids), kind="stable")[: round(share * len(ids))]
    changed[chosen] = True
    given = list(labels)
    for row, draw in zip(chosen, draws("corrupted label", seed, [ids[row] for row in chosen]), strict=True):
        others = [name for name in classes if name != labels[row]]
        given[row] = others[int(draw) % len(others)]
    return given, changed
