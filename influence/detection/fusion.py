"""Several signals as one ranking, without a single known error."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import norm, rankdata


def fuse(signals: Mapping[str, np.ndarray], weights: Mapping[str, float] | None = None) -> np.ndarray:
    """The weighted mean of the signals' normal scores, [N]: of each signal only the ranks count, the top ranks most.

    A value is replaced by the standard normal quantile of its rank, so units do not matter, ties share a score, and
    one extreme value cannot outvote the other signals.

    Args:
        signals: by name, [N], each larger for a more suspect example.
        weights: of each signal; None: all count alike.

    Raises:
        ValueError: there is no signal.
    """
    if not signals:
        raise ValueError("there is no signal to fuse")
    shares = None if weights is None else [weights[name] for name in signals]
    return np.average([_normal_scores(values) for values in signals.values()], axis=0, weights=shares)


def _normal_scores(values: np.ndarray) -> np.ndarray:
    return norm.ppf((rankdata(values) - 0.5) / len(values))
