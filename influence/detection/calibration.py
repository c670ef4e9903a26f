"""How probable it is that a label is wrong, learned from mistakes made on purpose on held-out data.

What the neighbours say against a label is compared with what they say against the labels of validation examples, as
given and after a change to every other label. A logistic regression tells the two apart; the share of errors in the
training set is then the one under which its probabilities agree with themselves (Saerens, Latinne & Decaestecker 2002).
No known error is needed.

Of all signals the neighbours alone are evidence of the same kind for training and validation examples: no example votes
for itself, while the model has seen the very labels of the training set that it is asked about, and those of the
validation set never. What is supposed: errors are made without regard to the example.
"""

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression


def evidence(votes: np.ndarray, neighbours: int, labels: np.ndarray) -> np.ndarray:
    """Log-odds of the neighbours' favourite other label against the given one, [N].

    Args:
        votes: shares of the neighbours' labels, [N, classes].
        neighbours: how many voted; one more vote is spread over all labels, so that every log-odds is finite.
        labels: class indices, [N].
    """
    shares = (votes * neighbours + 1.0 / votes.shape[1]) / (neighbours + 1.0)
    rows = np.arange(len(labels))
    given = shares[rows, labels]
    shares[rows, labels] = 0.0
    return np.log(shares.max(axis=1)) - np.log(given)


class Calibrator:
    """Turns evidence against labels into the probability that they are wrong.

    Args:
        votes, neighbours, labels: of held-out examples, as for `evidence`.
    """

    def __init__(self, votes: np.ndarray, neighbours: int, labels: np.ndarray) -> None:
        classes = votes.shape[1]
        right = evidence(votes, neighbours, labels)
        wrong = [evidence(votes, neighbours, (labels + by) % classes) for by in range(1, classes)]
        rows = np.concatenate([right, *wrong])
        target = np.repeat([0, 1], [len(right), len(rows) - len(right)])
        weights = np.repeat([1.0, 1.0 / (classes - 1)], [len(right), len(rows) - len(right)])
        self._model = LogisticRegression().fit(rows[:, None], target, sample_weight=weights)

    def probability(self, against: np.ndarray, ranking: np.ndarray) -> tuple[np.ndarray, float]:
        """The probability that each label is wrong, and the share of wrong labels that it implies.

        Args:
            against: evidence of the examples in question, [N].
            ranking: their fused score, [N]; the probability is made to rise with it, its mean kept.
        """
        log_odds = self._model.decision_function(against[:, None])
        share = 0.5
        for _ in range(1000):
            posterior = 1.0 / (1.0 + np.exp(-(log_odds + np.log(share / (1.0 - share)))))
            renewed = float(np.clip(posterior.mean(), 1e-6, 1.0 - 1e-6))
            if abs(renewed - share) < 1e-9:
                break
            share = renewed
        rising = IsotonicRegression(y_min=0.0, y_max=1.0).fit(ranking, posterior)
        return rising.predict(ranking), share
