"""What out-of-sample evidence says of an example's class, learned from held-out examples whose labels are right."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

RIDGE = 1e-3  # on the weights of the regression, for held-out sets that it separates


class ClassEvidence:
    """P(class | evidence), from several logarithms of class probabilities, as softmax(sum_e w_e evidence_e + c).

    Args:
        evidence: of held-out examples, each [M, C], in logarithms.
        labels: class indices of the held-out examples, [M].
    """

    def __init__(self, evidence: Sequence[np.ndarray], labels: np.ndarray) -> None:
        stacked = np.stack(evidence)
        kinds, count, classes = stacked.shape
        rows = np.arange(count)

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            logs = log_softmax(np.tensordot(theta[:kinds], stacked, 1) + theta[kinds:], axis=1)
            residual = np.exp(logs) / count
            residual[rows, labels] -= 1.0 / count
            slope = np.concatenate([np.tensordot(stacked, residual, 2), residual.sum(axis=0)])
            return float(-logs[rows, labels].mean() + RIDGE / 2 * theta @ theta), slope + RIDGE * theta

        start = np.concatenate([np.full(kinds, 1.0 / kinds), np.zeros(classes)])
        self._theta = minimize(objective, start, jac=True, method="L-BFGS-B").x
        self._kinds = kinds

    def probabilities(self, evidence: Sequence[np.ndarray]) -> np.ndarray:
        """P(class | evidence) of other examples, [N, C], from the same kinds of evidence in the same order."""
        scores = np.tensordot(self._theta[: self._kinds], np.stack(evidence), 1) + self._theta[self._kinds :]
        return softmax(scores, axis=1)


def smoothed_votes(votes: np.ndarray, neighbours: int) -> np.ndarray:
    """Logarithms of the neighbours' shares, one more vote spread over all labels so that each is finite, [N, C].

    Args:
        votes: shares of the neighbours' labels, [N, C].
        neighbours: how many voted.
    """
    found: np.ndarray = np.log((votes * neighbours + 1.0 / votes.shape[1]) / (neighbours + 1.0))
    return found
