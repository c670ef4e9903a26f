"""How many of a ranking are worth showing."""

import numpy as np


def within_false_discoveries(probability: np.ndarray, target: float) -> int:
    """The largest number of examples of which, by expectation, at most the share `target` is no error.

    Args:
        probability: that each label is wrong, most suspect first, [N], falling.
        target: the false-discovery rate to keep, 0 to 1.
    """
    if not len(probability):
        return 0
    rate = np.cumsum(1.0 - probability) / np.arange(1, len(probability) + 1)
    return int(np.searchsorted(rate, target + 1e-9, side="right"))
