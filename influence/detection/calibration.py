"""A probability that follows a ranking."""

import numpy as np
from sklearn.isotonic import IsotonicRegression


def along_ranking(probability: np.ndarray, ranking: np.ndarray) -> np.ndarray:
    """The probabilities made to rise with the ranking, their mean kept: isotonic regression, [N].

    Args:
        probability: of each example, [N].
        ranking: larger for a more suspect example, [N].
    """
    found: np.ndarray = IsotonicRegression(y_min=0.0, y_max=1.0).fit(ranking, probability).predict(ranking)
    return found
