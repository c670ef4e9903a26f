"""Suggested labels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from influence.detection import suggest


@given(seed=st.integers(0, 9999), classes=st.integers(2, 6))
def test_the_suggestion_is_the_likeliest_other_label(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    posterior, given_label = rng.dirichlet(np.ones(classes), 8), rng.integers(classes, size=8)
    kept = posterior.copy()
    label, share = suggest(posterior, given_label)
    assert (posterior == kept).all()
    for row in range(8):
        others = [index for index in range(classes) if index != given_label[row]]
        assert label[row] != given_label[row]
        assert posterior[row, label[row]] == posterior[row, others].max()
        assert np.isclose(share[row], posterior[row, others].max() / posterior[row, others].sum())


def test_certainty_of_the_given_label_still_gives_a_finite_suggestion() -> None:
    label, share = suggest(np.array([[1.0, 0.0, 0.0]]), np.array([0]))
    assert label[0] in (1, 2) and share[0] == 0.5
