"""Evidence weighed on held-out examples."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from influence.detection import ClassEvidence, match_frequencies, smoothed_votes


def world(seed: int, sample: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True logits, labels drawn from them, an overconfident witness and one that knows nothing."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(sample, 3)) + np.array([1.0, 0.0, -1.0])
    labels = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((sample, 1))).argmax(axis=1)
    return logits, labels, log_softmax(3.0 * logits, axis=1), log_softmax(rng.normal(size=(sample, 3)), axis=1)


def test_an_overconfident_witness_is_cooled_and_an_ignorant_one_ignored() -> None:
    _, labels, witness, noise = world(0)
    logits, _, *evidence = world(1)
    found = ClassEvidence([witness, noise], labels).probabilities(evidence)
    assert np.allclose(found.sum(axis=1), 1.0)
    assert np.abs(found - softmax(logits, axis=1)).mean() < 0.02


def test_held_out_labels_that_are_all_alike_leave_finite_probabilities() -> None:
    evidence = np.log(np.full((5, 2), 0.5))
    found = ClassEvidence([evidence], np.zeros(5, dtype=np.int64)).probabilities([evidence])
    assert np.isfinite(found).all() and (found[:, 0] > 0.9).all()


def test_votes_get_one_more_vote_spread_over_all_labels() -> None:
    found = smoothed_votes(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]), 2)
    assert np.allclose(np.exp(found), [[4 / 9, 4 / 9, 1 / 9], [7 / 9, 1 / 9, 1 / 9]])


@settings(max_examples=40)
@given(seed=st.integers(0, 999), classes=st.integers(2, 5))
def test_frequencies_are_met_by_one_shift_a_class(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    before, wanted = rng.dirichlet(np.ones(classes), size=50), rng.dirichlet(np.full(classes, 5.0))
    after = match_frequencies(before, wanted)
    assert np.allclose(after.sum(axis=1), 1.0) and np.allclose(after.mean(axis=0), wanted, rtol=1e-4)
    shifts = np.log(after / after[:, :1]) - np.log(before / before[:, :1])
    assert np.allclose(shifts, shifts[0], atol=1e-6)


def test_frequencies_that_are_met_change_nothing() -> None:
    before = np.array([[0.9, 0.1], [0.3, 0.7]])
    assert np.allclose(match_frequencies(before, before.mean(axis=0)), before, atol=1e-12)


def test_a_class_without_an_example_left_is_all_but_impossible() -> None:
    before = np.random.default_rng(0).dirichlet(np.ones(3), size=50)
    after = match_frequencies(before, np.array([0.3, 0.7, 0.0]))
    assert np.allclose(after.mean(axis=0), [0.3, 0.7, 0.0], atol=1e-6) and np.isfinite(np.log(after)).all()
