"""Margins read through a model of the errors."""

import numpy as np

from influence.detection import ErrorModel, margin_log_odds

RATES = np.array([[0.0, 0.3], [0.02, 0.0]])


def test_margins_that_are_the_evidence_give_the_odds_of_the_posterior() -> None:
    rng = np.random.default_rng(0)
    right = rng.uniform(0.01, 0.99, size=50)
    probabilities, given = np.stack([right, 1.0 - right], axis=1), rng.integers(2, size=50)
    model, rows = ErrorModel(RATES, 0.0), np.arange(50)
    margins = np.log(probabilities[rows, given]) - np.log(probabilities[rows, 1 - given])
    posterior = model.posterior(probabilities, given)[0]
    expected = np.log(posterior[rows, 1 - given]) - np.log(posterior[rows, given])
    assert np.allclose(margin_log_odds(3.0 * margins + 1.0, probabilities, given, model), expected)


def test_a_frequent_error_is_likelier_than_a_rare_one_of_the_same_margin() -> None:
    probabilities = np.full((4, 2), 0.5)
    found = margin_log_odds(np.zeros(4), probabilities, np.array([0, 1, 0, 1]), ErrorModel(RATES, 0.0))
    assert np.allclose(found, np.log([0.02 / 0.7, 0.3 / 0.98] * 2))
