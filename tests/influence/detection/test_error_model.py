"""The error model in worlds whose errors are known, and unknown to it."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from influence.detection import ErrorModel, fit_error_model, learn_error_model

CLASSES, SAMPLE = 4, 4000
OTHERS = ~np.eye(CLASSES, dtype=bool)
Moves = Callable[[np.ndarray], np.ndarray]  # g [N, C] -> T [N, C, C], chances of a move from k to j


def uniform(g: np.ndarray) -> np.ndarray:
    return np.broadcast_to(0.1 / (CLASSES - 1) * OTHERS, (len(g), CLASSES, CLASSES))


def pair(g: np.ndarray) -> np.ndarray:
    return np.broadcast_to(0.1 * np.roll(np.eye(CLASSES), 1, axis=1), (len(g), CLASSES, CLASSES))


def by_features(g: np.ndarray) -> np.ndarray:
    """To what the example looks like: most often where classes meet."""
    return 0.2 * OTHERS * np.sqrt(g)[:, None, :]


def none(g: np.ndarray) -> np.ndarray:
    return np.zeros((len(g), CLASSES, CLASSES))


def draw(moves: Moves, seed: int, sample: int = SAMPLE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """g, the labels that stand there, and the true ones."""
    rng = np.random.default_rng(seed)
    g = softmax(3.0 * rng.normal(size=(sample, CLASSES)), axis=1)
    true = (g.cumsum(axis=1) > rng.random((sample, 1))).argmax(axis=1)
    chances = np.array(moves(g)[np.arange(sample), true])
    chances[np.arange(sample), true] = 1.0 - chances.sum(axis=1)
    given = (chances.cumsum(axis=1) > rng.random((sample, 1))).argmax(axis=1)
    return g, given, true


def calibration_error(probability: np.ndarray, wrong: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal width."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [abs((probability - wrong)[place == one].sum()) for one in range(bins)]
    return float(sum(gaps) / len(wrong))


@pytest.mark.parametrize("moves", [uniform, pair, by_features, none])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_probability_of_an_error_is_calibrated_whatever_the_pattern(moves: Moves, seed: int) -> None:
    g, given, true = draw(moves, seed)
    model = learn_error_model(g, given, np.arange(SAMPLE) % 2 == 0)
    posterior, _ = model.posterior(g, given)
    wrong = 1.0 - posterior[np.arange(SAMPLE), given]
    truly = (given != true).astype(float)
    assert np.allclose(posterior.sum(axis=1), 1.0)
    # What a sample of this size leaves open is most where errors follow the features: over four seeds the share is
    # then .031, .004, .017 and .005 off.
    assert wrong.mean() == pytest.approx(truly.mean(), abs=0.035 if moves is by_features else 0.01)
    assert calibration_error(wrong, truly) <= (0.035 if moves is by_features else 0.015)
    if moves is pair:
        assert model.rates[np.roll(np.eye(CLASSES, dtype=bool), 1, axis=1)].min() > 0.05
        assert model.rates[OTHERS & ~np.roll(np.eye(CLASSES, dtype=bool), 1, axis=1)].max() < 0.03


def test_errors_that_follow_the_features_are_told_from_those_that_do_not() -> None:
    half = np.arange(SAMPLE) % 2 == 0
    assert learn_error_model(*draw(uniform, 0)[:2], half).pull == 0.0
    assert learn_error_model(*draw(by_features, 0)[:2], half).pull > 0.0


def test_the_posterior_is_bayes_formula() -> None:
    rates = np.array([[0.0, 0.2], [0.4, 0.0]])
    posterior, likelihood = ErrorModel(rates, 1.0).posterior(np.array([[0.7, 0.3], [0.7, 0.3]]), np.array([0, 1]))
    right, wrong = 0.7 * (1 - 0.2 * 0.3), 0.3 * 0.4 * 0.7  # given 0: truly 0 and kept, or truly 1 and moved
    assert posterior[0] == pytest.approx([right / (right + wrong), wrong / (right + wrong)])
    assert likelihood[0] == pytest.approx(np.log(right + wrong))
    assert np.exp(likelihood).sum() == pytest.approx(1.0)  # one label or the other stands there


def test_the_rates_are_those_of_the_greatest_likelihood() -> None:
    g, given, _ = draw(pair, 3, 500)
    found = fit_error_model(g, given, 0.0, 1e-9)

    def loss(values: np.ndarray) -> float:
        rates = np.zeros((CLASSES, CLASSES))
        rates[OTHERS] = values
        return -float(ErrorModel(rates, 0.0).posterior(g, given)[1].mean())

    best = minimize(loss, found.rates[OTHERS], bounds=[(0.0, 0.3)] * int(OTHERS.sum()), method="L-BFGS-B")
    assert loss(found.rates[OTHERS]) == pytest.approx(best.fun, abs=1e-4)


def test_a_strong_prior_makes_the_rates_of_all_pairs_alike() -> None:
    g, given, _ = draw(pair, 0)
    rates = fit_error_model(g, given, 0.0, 1e9).rates[OTHERS]
    assert rates.max() - rates.min() < 1e-3 * rates.mean()


def test_the_order_of_rows_changes_nothing() -> None:
    g, given, _ = draw(pair, 0, 600)
    half, order = np.arange(600) % 2 == 0, np.random.default_rng(0).permutation(600)
    first, second = learn_error_model(g, given, half), learn_error_model(g[order], given[order], half[order])
    assert first.pull == second.pull and np.allclose(first.rates, second.rates, atol=1e-10)
