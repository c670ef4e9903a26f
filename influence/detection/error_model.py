"""How labels go wrong, learned from a training set without a single known error.

With g(x) the probabilities of the true classes of an example x, an example of class k is supposed to bear label j with
probability

    T_kj(x) = rate_kj * g_j(x)^pull,   j != k,

so that an error is the likelier the more x looks like j (bounded noise that depends on the features, as in Zhang et al.
2021); with pull = 0 it does not depend on x (class-conditional noise). The rates are those under which the labels
that stand there are most probable, found by expectation maximisation. Rates of pairs of classes are drawn towards
their mean as by `pseudo` further errors of each pair. Pull and pseudo are chosen by the likelihood of the labels of one
half of the examples under rates learned from the other: the simplest choice within a standard error of the best
(Breiman et al. 1984).

What is supposed: g is right. Where g was fitted to labels that are wrong in the same way, those errors cannot be seen.
"""

import itertools
from dataclasses import dataclass

import numpy as np

PULLS = (0.0, 0.25, 0.5)
PSEUDO = (1000.0, 100.0, 10.0, 1.0)
START = 0.05  # share of errors at the first step
LEAST_RIGHT = 0.05  # smallest probability of the true label that is considered
ITERATIONS, TOLERANCE = 100, 1e-6


@dataclass(frozen=True)
class ErrorModel:
    """Attributes:
    rates: rate_kj, of examples of class k that come to bear label j, [C, C], zero on the diagonal.
    pull: the exponent of g_j.
    """

    rates: np.ndarray
    pull: float

    def posterior(self, probabilities: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P(true class | x, label that stands there), [N, C], and the log-likelihood of that label, [N].

        Args:
            probabilities: g, [N, C].
            given: the labels that stand there, class indices, [N].
        """
        joint = probabilities * self.bears(probabilities, given)
        total = np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
        return joint / total, np.log(total[:, 0])

    def bears(self, probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
        """T_kj(x), the probability of the label j that stands there by true class k, [N, C]; see `posterior`."""
        rows, pulled = np.arange(len(given)), probabilities**self.pull
        found: np.ndarray = self.rates[:, given].T * pulled[rows, given][:, None]
        found[rows, given] = np.maximum(1.0 - (pulled * self.rates[given]).sum(axis=1), LEAST_RIGHT)
        return found


def fit_error_model(probabilities: np.ndarray, given: np.ndarray, pull: float, pseudo: float) -> ErrorModel:
    """The rates of one pull and one strength of the prior; see the module.

    Args:
        probabilities: g, out of sample, [N, C].
        given: the labels that stand there, class indices, [N].
        pull, pseudo: see above.
    """
    classes = probabilities.shape[1]
    off_diagonal = ~np.eye(classes, dtype=bool)
    pulled, bearing = probabilities**pull, np.eye(classes)[given]
    model = ErrorModel(np.where(off_diagonal, START / (classes - 1), 0.0), pull)
    for _ in range(ITERATIONS):
        truth, _ = model.posterior(probabilities, given)
        errors, chances = truth.T @ bearing, truth.T @ pulled
        mean = errors[off_diagonal].sum() / chances[off_diagonal].sum()
        rates = np.where(off_diagonal, (errors + pseudo) / (chances + pseudo / max(mean, 1e-12)), 0.0)
        change, model = np.abs(rates - model.rates).max(), ErrorModel(rates, pull)
        if change < TOLERANCE:
            break
    return model


def learn_error_model(probabilities: np.ndarray, given: np.ndarray, half: np.ndarray) -> ErrorModel:
    """The model whose pull and prior explain labels best that it was not fitted to.

    Args:
        probabilities, given: see `fit_error_model`.
        half: which half an example belongs to, bool [N].
    """

    candidates = list(itertools.product(PULLS, PSEUDO))  # the simplest first
    likelihoods = []
    for candidate in candidates:
        likelihood = np.empty(len(given))
        for part in (half, ~half):
            model = fit_error_model(probabilities[~part], given[~part], *candidate)
            likelihood[part] = model.posterior(probabilities[part], given[part])[1]
        likelihoods.append(likelihood)
    best = max(likelihoods, key=lambda likelihood: float(likelihood.mean()))
    losses = [best - likelihood for likelihood in likelihoods]
    close = [float(loss.mean()) <= float(loss.std()) / len(given) ** 0.5 for loss in losses]
    return fit_error_model(probabilities, given, *candidates[close.index(True)])
