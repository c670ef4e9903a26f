"""What verdicts teach, where the truth is known."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm, rankdata
from sklearn.metrics import average_precision_score

from influence.detection.correction import (
    Correction,
    _design,
    _minimise,
    learn_correction,
    log_odds_along,
    normal_scores,
    selection_weights,
)

COUNT, JUDGED = 4000, 240


def shares(values: np.ndarray) -> np.ndarray:
    return (rankdata(values) - 1) / (len(values) - 1)


def noisy(seed: int, misleading: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prior log-odds, scores of three signals and the truth; the prior believes a signal that means nothing."""
    rng = np.random.default_rng(seed)
    signals = rng.normal(size=(COUNT, 3))
    truth = -4.0 + 2.0 * signals[:, 0] + 1.0 * signals[:, 1]
    wrong = rng.random(COUNT) < expit(truth)
    prior = truth + misleading * signals[:, 2]
    scores = np.column_stack([normal_scores(shares(column), COUNT) for column in signals.T])
    return prior, scores, wrong


def reviewed(prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of those judged, the most suspect first, and of the others."""
    order = np.argsort(-prior)
    return order[:JUDGED], order[JUDGED:]


def learn(prior: np.ndarray, scores: np.ndarray, wrong: np.ndarray, judged: np.ndarray, seed: int) -> Correction | None:
    """From one review of the judged."""
    weights = selection_weights(prior[judged], np.delete(prior, judged))
    return learn_correction(prior[judged], scores[judged], wrong[judged], weights, np.zeros(len(judged)), seed)


def calibration_error(probability: np.ndarray, wrong: np.ndarray) -> float:
    edges = np.quantile(probability, np.linspace(0, 1, 16)[1:-1])
    bins = np.searchsorted(edges, probability)
    gaps = [abs(probability[bins == b].mean() - wrong[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


@pytest.mark.parametrize("seed", range(4))
def test_where_the_prior_is_right_verdicts_do_no_harm(seed: int) -> None:
    prior, scores, wrong = noisy(seed, misleading=0.0)
    judged, others = reviewed(prior)
    learned = learn(prior, scores, wrong, judged, seed)
    after = prior if learned is None else prior + learned.change(prior, scores)
    before_ap, after_ap = (average_precision_score(wrong[others], found[others]) for found in (prior, after))
    assert after_ap > before_ap - 0.01
    assert calibration_error(expit(after[others]), wrong[others]) < 0.02


def test_a_misleading_signal_is_found_out() -> None:
    gains, calibrations = [], []
    for seed in range(4):
        prior, scores, wrong = noisy(seed, misleading=1.5)
        judged, others = reviewed(prior)
        learned = learn(prior, scores, wrong, judged, seed)
        assert learned is not None and learned.coefficients[-1] < -0.3
        after = prior + learned.change(prior, scores)
        before_ap, after_ap = (average_precision_score(wrong[others], found[others]) for found in (prior, after))
        gains.append(after_ap - before_ap)
        calibrations.append([calibration_error(expit(found[others]), wrong[others]) for found in (prior, after)])
    assert min(gains) > 0.02
    before, after_error = np.mean(calibrations, axis=0)
    assert after_error < before


def test_what_does_not_hold_from_review_to_review_is_not_learned() -> None:
    """In each of two reviews the prior is off, but the other way round: pooled folds would learn from that."""
    rng = np.random.default_rng(0)
    prior, scores = rng.normal(size=400), rng.normal(size=(400, 1))
    reviews = np.repeat(["first", "second"], 200)
    wrong = rng.random(400) < expit(prior + np.where(reviews == "first", 1.5, -1.0) * scores[:, 0])
    weights = np.ones(400)
    assert learn_correction(prior, scores, wrong, weights, reviews, 0) is None
    assert learn_correction(prior, scores, wrong, weights, np.zeros(400), 0) is not None
    held = rng.random(400) < expit(prior + 1.5 * scores[:, 0])
    assert learn_correction(prior, scores, held, weights, reviews, 0) is not None


def test_the_line_through_probabilities_has_no_steps() -> None:
    ranking = np.linspace(-3, 3, 300)
    assert log_odds_along(expit(2 * ranking - 1), ranking) == pytest.approx(2 * ranking - 1, abs=1e-3)
    stepped = np.where(ranking > 1.5, 0.9, 0.0)
    assert (np.diff(log_odds_along(stepped, ranking)) > 0).all()


def test_the_coefficients_minimise_the_penalised_loss() -> None:
    rng = np.random.default_rng(0)
    prior, design = rng.normal(size=60), _design(rng.normal(size=(60, 3)))
    wrong, weights = rng.random(60) < 0.3, rng.uniform(0.5, 2, size=60)

    def objective(coefficients: np.ndarray) -> float:
        odds = prior + design @ coefficients
        losses = weights * -np.log(expit(np.where(wrong, odds, -odds)))
        return float(losses.sum() + 1.5 * coefficients @ coefficients)

    expected = minimize(objective, np.zeros(4), tol=1e-12).x
    assert _minimise(prior, design, wrong, weights, ridge=3.0) == pytest.approx(expected, abs=1e-5)


def test_a_separable_review_stays_finite() -> None:
    prior = np.linspace(-3, 3, 50)
    found = _minimise(prior, _design(prior[:, None] * 20), prior > 0, np.ones(50), ridge=1.0)
    assert np.isfinite(found).all() and np.abs(found).max() < 10


def test_beyond_what_was_judged_the_nearest_correction_holds() -> None:
    prior, scores, wrong = noisy(1, misleading=1.5)
    judged, _ = reviewed(prior)
    learned = learn(prior, scores, wrong, judged, 0)
    assert learned is not None
    far = np.full((2, 3), [[-9.0], [-12.0]])
    low, lower = learned.change(np.array([-50.0, -90.0]), far)
    assert low == pytest.approx(lower)


def test_scores_are_normal_quantiles_of_ranks() -> None:
    values = np.random.default_rng(0).normal(size=101)
    found = normal_scores(shares(values), 101)
    assert (np.argsort(found) == np.argsort(values)).all() and found[np.argsort(values)[50]] == pytest.approx(0)
    assert found.max() == pytest.approx(norm.ppf(1 - 0.5 / 101)) == pytest.approx(-found.min())


def test_the_judged_stand_for_those_like_them() -> None:
    judged = np.repeat([0.0, 1.0], 50)
    assert (selection_weights(judged, np.full(70, -5.0)) == 1).all()  # nobody below was judged: they stand for none
    weights = selection_weights(judged, np.concatenate([np.zeros(100), np.full(10_000, -5.0)]))
    assert weights[:50] == pytest.approx(3.0) and weights[50:] == pytest.approx(1.0)
    assert selection_weights(judged, np.full(10_000, 1.0)).max() == 5.0
