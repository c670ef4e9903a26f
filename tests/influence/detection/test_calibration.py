"""Probabilities along a ranking."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.detection import along_ranking


@settings(max_examples=25)
@given(seed=st.integers(0, 999), count=st.integers(1, 50))
def test_the_probability_rises_with_the_ranking_keeps_its_mean_and_ignores_the_order_of_rows(
    seed: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    probability, ranking = rng.random(count), rng.integers(0, 9, count).astype(float)
    found = along_ranking(probability, ranking)
    assert (np.diff(found[np.argsort(ranking, kind="stable")]) >= -1e-12).all()
    assert found.min() >= 0 and found.max() <= 1 and np.isclose(found.mean(), probability.mean())
    order = rng.permutation(count)
    assert np.allclose(along_ranking(probability[order], ranking[order]), found[order])


def test_probabilities_that_rise_already_stay() -> None:
    assert np.allclose(along_ranking(np.array([0.1, 0.9, 0.4]), np.array([1.0, 3.0, 2.0])), [0.1, 0.9, 0.4])
