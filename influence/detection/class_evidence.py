"""What out-of-sample evidence says of an example's class, learned from held-out examples."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

RIDGE = 1e-3  # on the weights of the regression, for held-out sets that it separates
LEAST = 1e-12  # frequency of a class in `match_frequencies`
MATCHES, MATCHED = 200, 1e-6  # rounds of `match_frequencies`, and the relative error that ends them


class ClassEvidence:
    """P(class | evidence), from several logarithms of class probabilities, as softmax(sum_e w_e evidence_e + c).

    Args:
        evidence: of held-out examples, each [M, C], in logarithms.
        labels: class indices of the held-out examples, [M].
        bears: P(label that stands there | true class), [C, C], rows by true class; None: the labels are right. The
            weights are those under which the labels that stand there are most probable (the forward correction of
            Patrini et al. 2017).
    """

    def __init__(self, evidence: Sequence[np.ndarray], labels: np.ndarray, bears: np.ndarray | None = None) -> None:
        stacked = np.stack(evidence)
        self._kinds, count, classes = stacked.shape
        likely = (np.eye(classes) if bears is None else bears)[:, labels].T  # of the label, by true class, [M, C]
        logs_likely = np.log(np.maximum(likely, 1e-300))

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            logs = log_softmax(np.tensordot(theta[: self._kinds], stacked, 1) + theta[self._kinds :], axis=1)
            joint = logs + logs_likely
            total = np.logaddexp.reduce(joint, axis=1)
            residual = (np.exp(logs) - np.exp(joint - total[:, None])) / count
            slope = np.concatenate([np.tensordot(stacked, residual, 2), residual.sum(axis=0)])
            return float(-total.mean() + RIDGE / 2 * theta @ theta), slope + RIDGE * theta

        start = np.concatenate([np.full(self._kinds, 1.0 / self._kinds), np.zeros(classes)])
        self._theta = minimize(objective, start, jac=True, method="L-BFGS-B").x

    def probabilities(self, evidence: Sequence[np.ndarray]) -> np.ndarray:
        """P(class | evidence) of other examples, [N, C], from the same kinds of evidence in the same order."""
        scores = np.tensordot(self._theta[: self._kinds], np.stack(evidence), 1) + self._theta[self._kinds :]
        return softmax(scores, axis=1)


def match_frequencies(probabilities: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Shift the logarithms class by class until each class is as frequent in the mean as it is known to be, [N, C].

    The correction of class priors of Saerens et al. (2002), turned round: there frequencies are sought, here they are
    given.

    Args:
        probabilities: of each example's class, [N, C].
        frequencies: of the classes, with sum 1, [C]. A class that has none left becomes all but impossible.
    """
    logs, shift = np.log(np.maximum(probabilities, 1e-300)), np.zeros(len(frequencies))
    wanted = np.log(np.maximum(frequencies, LEAST))
    for _ in range(MATCHES):
        found: np.ndarray = softmax(logs + shift, axis=1)
        change = wanted - np.log(np.maximum(found.mean(axis=0), LEAST))
        shift += change
        if np.abs(change).max() < MATCHED:
            break
    return found


def smoothed_votes(votes: np.ndarray, neighbours: int) -> np.ndarray:
    """Logarithms of the neighbours' shares, one more vote spread over all labels so that each is finite, [N, C].

    Args:
        votes: shares of the neighbours' labels, [N, C].
        neighbours: how many voted.
    """
    found: np.ndarray = np.log((votes * neighbours + 1.0 / votes.shape[1]) / (neighbours + 1.0))
    return found
