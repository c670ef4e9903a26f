"""Where a value stands among others, in a unit that every signal and every run has in common."""

import numpy as np
from scipy.stats import rankdata


def shares_below(values: np.ndarray) -> np.ndarray:
    """For each value, the share of the others that are smaller, [N]; of equal ones, half."""
    shares: np.ndarray = (rankdata(values) - 1) / max(1, len(values) - 1)
    return shares
