"""Held-out labels that are wrong themselves."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from influence.detection import ClassEvidence, fit_class_evidence, read_better

CLASSES = 4


def world(seed: int, noise: float, sample: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(class), overconfident evidence, and labels of which a share stands for the class after the true one."""
    rng = np.random.default_rng(seed)
    logits = 3.0 * rng.normal(size=(sample, CLASSES))
    classes = softmax(logits, axis=1)
    labels = (classes.cumsum(axis=1) > rng.random((sample, 1))).argmax(axis=1)
    return classes, log_softmax(2.0 * logits, axis=1), (labels + (rng.random(sample) < noise)) % CLASSES


def test_the_weights_are_found_through_errors_of_unknown_rates() -> None:
    classes, evidence, labels = world(0, noise=0.2)
    found = fit_class_evidence([evidence], labels)[0].probabilities([evidence])
    misled = ClassEvidence([evidence], labels).probabilities([evidence])
    assert np.abs(found - classes).mean() < 0.02 < 0.06 < np.abs(misled - classes).mean()


def test_right_labels_need_no_rates_to_be_read_as_well() -> None:
    classes, evidence, labels = world(1, noise=0.0)
    assert np.abs(fit_class_evidence([evidence], labels)[0].probabilities([evidence]) - classes).mean() < 0.02


def test_evidence_too_weak_to_tell_errors_by_is_fitted_as_if_the_labels_were_right() -> None:
    rng = np.random.default_rng(0)
    evidence = log_softmax(0.5 * rng.normal(size=(300, CLASSES)), axis=1)
    labels = (np.exp(evidence).cumsum(axis=1) > rng.random((300, 1))).argmax(axis=1)
    found, plain = fit_class_evidence([evidence], labels)[0], ClassEvidence([evidence], labels)
    assert np.array_equal(found.probabilities([evidence]), plain.probabilities([evidence]))


def test_known_rates_are_looked_through() -> None:
    classes, evidence, labels = world(2, noise=0.2)
    bears = 0.8 * np.eye(CLASSES) + 0.2 * np.roll(np.eye(CLASSES), 1, axis=1)
    found = ClassEvidence([evidence], labels, bears).probabilities([evidence])
    assert np.abs(found - classes).mean() < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_held_out_labels_are_read_better_only_where_they_are_better(seed: int) -> None:
    _, training, given = world(100 + seed, noise=0.1)
    for noise, expected in ((0.0, True), (0.1, False)):
        _, held_out, labels = world(seed, noise, sample=500)
        assert read_better([held_out], labels, [training], given) is expected
