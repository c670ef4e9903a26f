"""Suggested labels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.detection import label_posterior, suggest


@settings(deadline=None)
@given(seed=st.integers(0, 9999), classes=st.integers(2, 6), certain=st.booleans())
def test_the_suggestion_is_the_likeliest_other_label(seed: int, classes: int, certain: bool) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.2), 8)
    if certain:
        probabilities = np.eye(classes)[rng.integers(classes, size=8)]
    votes = rng.multinomial(9, np.full(classes, 1 / classes), 8) / 9
    given_label = rng.integers(classes, size=8)
    posterior = label_posterior(probabilities, votes, 9)
    label, share = suggest(posterior, given_label)
    assert np.allclose(posterior.sum(axis=1), 1)
    for row in range(8):
        others = [index for index in range(classes) if index != given_label[row]]
        assert label[row] != given_label[row]
        assert posterior[row, label[row]] == posterior[row, others].max()
        assert np.isclose(share[row], posterior[row, others].max() / posterior[row, others].sum())


def test_the_posterior_is_the_normalised_geometric_mean() -> None:
    found = label_posterior(np.array([[0.9, 0.1]]), np.array([[0.0, 1.0]]), 4)
    product = np.sqrt([0.9 * 0.5 / 5, 0.1 * 4.5 / 5])
    assert np.allclose(found, product / product.sum())


def test_a_model_sure_of_the_given_label_still_gives_a_finite_suggestion() -> None:
    posterior = label_posterior(np.array([[1.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0]]), 5)
    label, share = suggest(posterior, np.array([0]))
    assert label[0] in (1, 2) and share[0] == 0.5
