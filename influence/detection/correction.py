"""What people's verdicts teach of a probability of error: a logistic correction that stays at zero without need.

    log-odds(x) = prior(x) + b + (a - 1) prior(x) + sum_s w_s z_s(x),

prior(x) the log-odds of error before any verdict, z_s(x) the normal score of the rank of signal s, as in `fuse`. The
coefficients (b, a - 1, w) minimise the logistic loss of the verdicts plus a ridge, so that they are drawn to 0, where
the prior stands as it is. The ridge is chosen by cross-validation: the strongest within a standard error of the best
(Breiman et al. 1984), among them the infinite one, which learns nothing. Verdicts of several reviews are held out
review by review: what was mended after one is gone in the next, and what is learned must hold there all the same.

Which examples are judged depends on their rank, and so on the signals alone: given the signals, whether a label is
wrong does not depend on whether somebody looked, and a model that is right needs no weights. Since this one is not
quite right, the judged stand for those like them that were not (`selection_weights`), as far as there are any. Where
nobody looked nothing is learned: there the correction is that of the nearest values that were judged.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import norm

RIDGES = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
FOLDS = 5
STEPS, TOLERANCE = 50, 1e-10
BINS, MOST_WEIGHT = 10, 5.0


@dataclass(frozen=True)
class Correction:
    """Attributes:
    coefficients: b, a - 1 and w, [2 + S].
    low, high: the smallest and largest of the judged, of the prior and of every signal's score, [1 + S].
    """

    coefficients: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def change(self, prior: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """What the verdicts taught: to be added to log-odds of error, [N].

        Args:
            prior: log-odds before, [N].
            scores: normal scores of the signals, [N, S].
        """
        known = np.clip(np.column_stack([prior, scores]), self.low, self.high)
        found: np.ndarray = _design(known) @ self.coefficients
        return found


def learn_correction(
    prior: np.ndarray, scores: np.ndarray, wrong: np.ndarray, weights: np.ndarray, reviews: np.ndarray, seed: int
) -> Correction | None:
    """The correction that the verdicts support; None where they support none.

    Args:
        prior: log-odds of error before any verdict, of the M judged examples, [M].
        scores: normal scores of the signals, [M, S].
        wrong: whether the label was found wrong, bool [M].
        weights: how many examples each stands for, [M].
        reviews: the review that each comes from, any values, [M].
        seed: of the folds where there is one review only.
    """
    inputs = np.column_stack([prior, scores])
    design, weights = _design(inputs), weights / weights.mean()
    fold = np.unique(reviews, return_inverse=True)[1]
    if not fold.any():
        fold = np.random.default_rng(seed).permutation(len(wrong)) % FOLDS
    losses = [_losses(prior, wrong, weights)]
    for ridge in RIDGES:
        held_out = np.empty(len(wrong))
        for part in range(fold.max() + 1):
            inside, outside = fold != part, fold == part
            found = _minimise(prior[inside], design[inside], wrong[inside], weights[inside], ridge)
            held_out[outside] = prior[outside] + design[outside] @ found
        losses.append(_losses(held_out, wrong, weights))
    best = min(losses, key=lambda loss: float(loss.mean()))
    excess = [loss - best for loss in losses]
    close = [float(more.mean()) <= float(more.std()) / len(wrong) ** 0.5 for more in excess]
    chosen = close.index(True)  # the strongest ridge of those
    if chosen == 0:
        return None
    coefficients = _minimise(prior, design, wrong, weights, RIDGES[chosen - 1])
    return Correction(coefficients, inputs.min(axis=0), inputs.max(axis=0))


def log_odds_along(probability: np.ndarray, ranking: np.ndarray) -> np.ndarray:
    """The line in the ranking that comes closest to probabilities, as log-odds, [N].

    Probabilities that rise with a ranking may do so in steps, and be 0 or 1; from these a correction learns nothing.

    Args:
        probability: that a label is wrong, [N].
        ranking: larger for a more suspect example, [N].
    """
    design = np.column_stack([np.ones(len(ranking)), ranking])
    line: np.ndarray = design @ _minimise(
        np.zeros(len(ranking)), design, probability, np.ones(len(ranking)), ridge=1e-3
    )
    return line


def normal_scores(shares: np.ndarray, examples: int) -> np.ndarray:
    """Standard normal quantiles of ranks that are given as shares, of the shape of `shares`.

    Args:
        shares: of a training set that a signal calls less suspect, 0 to 1.
        examples: how many there are; the outermost of them bound the score.
    """
    found: np.ndarray = norm.ppf(np.clip(shares, 0.5 / examples, 1.0 - 0.5 / examples))
    return found


def selection_weights(judged: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For how many examples each judged one stands, itself included, [M], at most `MOST_WEIGHT`.

    Within bins of the prior: all over judged, the inverse of the share that was looked at. It is cut off, since a few
    verdicts must not speak for thousands.

    Args:
        judged: prior log-odds of the judged, [M].
        others: those of the examples that nobody judged, [N].
    """
    edges = np.quantile(judged, np.linspace(0.0, 1.0, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, judged)
    inside = others[others >= judged.min()]  # the others are unlike any
    there = np.bincount(bins, minlength=BINS)
    unseen = np.bincount(np.searchsorted(edges, inside), minlength=BINS)
    found: np.ndarray = np.minimum(1.0 + unseen[bins] / there[bins], MOST_WEIGHT)
    return found


def _design(inputs: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(inputs)), inputs])


def _losses(log_odds: np.ndarray, wrong: np.ndarray, weights: np.ndarray) -> np.ndarray:
    losses: np.ndarray = weights * (np.logaddexp(0.0, log_odds) - wrong * log_odds)
    return losses


def _minimise(
    prior: np.ndarray, design: np.ndarray, wrong: np.ndarray, weights: np.ndarray, ridge: float
) -> np.ndarray:
    """Newton's method on a strictly convex objective, each step halved until it goes down."""

    def objective(coefficients: np.ndarray) -> float:
        losses = _losses(prior + design @ coefficients, wrong, weights)
        return float(losses.sum() + 0.5 * ridge * coefficients @ coefficients)

    found = np.zeros(design.shape[1])
    value = objective(found)
    for _ in range(STEPS):
        probability = expit(prior + design @ found)
        gradient = design.T @ (weights * (probability - wrong)) + ridge * found
        curvature = (design * (weights * probability * (1.0 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + ridge * np.eye(len(found)), gradient)
        while (tried := objective(found - step)) > value and np.abs(step).max() > TOLERANCE:
            step = step / 2
        found, value = found - step, min(tried, value)
        if np.abs(step).max() <= TOLERANCE:
            break
    return found
