"""The linear datamodelling score of Park et al. 2023 ("TRAK", section 2).

Models are retrained on random subsets of the training set. Scores predict the measurement of a query on each of them as
the sum of the scores of its members; the score of the scores is how well that ranks the subsets by what was measured.
"""

from torch import Tensor

from influence.fidelity.bootstrap import Draws
from influence.fidelity.ranks import spearman


def datamodelling_score(predicted: Tensor, actual: Tensor) -> float:
    """Mean over Q queries of Spearman's correlation of what was predicted with what was measured, over M subsets.

    Args:
        predicted: [Q, M], up to a constant of each query: of a loss, the influence of what is left out.
        actual: [Q, M].

    Raises:
        ValueError: the shapes differ, or there are fewer than two subsets.
    """
    return float(spearman(predicted, actual).mean())


def datamodelling_draws(predicted: Tensor, actual: Tensor, draws: Draws) -> Tensor:
    """The same on samples of subsets and queries drawn again, [B]."""
    return draws.mean(spearman(predicted, actual, draws.subsets))
