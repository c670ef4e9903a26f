"""Several signals as one ranking, without a single known error."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import norm, rankdata


def fuse(signals: Mapping[str, np.ndarray]) -> np.ndarray:
    """The mean of the signals' normal scores, [N]: of each signal only the ranks count, the top ranks most.

    A value is replaced by the standard normal quantile of its rank, so units do not matter, ties share a score, and
    one extreme value cannot outvote the other signals.

    Args:
        signals: by name, [N], each larger for a more suspect example.

    Raises:
        ValueError: there is no signal.
    """
    if not signals:
        raise ValueError("there is no signal to fuse")
    return np.mean([_normal_scores(values) for values in signals.values()], axis=0)


def _normal_scores(values: np.ndarray) -> np.ndarray:
    return norm.ppf((rankdata(values) - 0.5) / len(values))
