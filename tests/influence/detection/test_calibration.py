"""Calibration on data whose mistakes are known, and unknown to it."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.detection import Calibrator, evidence

CLASSES, NEIGHBOURS, SAMPLE = 5, 20, 6000


@dataclass(frozen=True)
class Sample:
    """A world where the neighbours are drawn from the same probabilities as the label."""

    votes: np.ndarray
    labels: np.ndarray
    wrong: np.ndarray


def draw(rng: np.random.Generator, share: float, size: int = SAMPLE) -> Sample:
    logits = 2.5 * rng.normal(size=(size, CLASSES))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = (probabilities.cumsum(axis=1) > rng.random((size, 1))).argmax(axis=1)
    votes = rng.multinomial(NEIGHBOURS, probabilities) / NEIGHBOURS
    wrong = rng.random(size) < share
    labels = np.where(wrong, (true + rng.integers(1, CLASSES, size)) % CLASSES, true)
    return Sample(votes, labels, wrong)


def calibration_error(probability: np.ndarray, wrong: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal count."""
    parts = np.array_split(np.argsort(probability, kind="stable"), bins)
    gaps = [abs(probability[part].mean() - wrong[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(wrong))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_share_of_planted_errors_is_found_and_the_probabilities_are_calibrated(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    held_out, train = draw(rng, share=0.0), draw(rng, share)
    calibrator = Calibrator(held_out.votes, NEIGHBOURS, held_out.labels)
    against = evidence(train.votes, NEIGHBOURS, train.labels)
    ranking = against
    probability, estimate = calibrator.probability(against, ranking)
    assert estimate == pytest.approx(train.wrong.mean(), abs=0.2 * share + 0.01)
    assert probability.mean() == pytest.approx(estimate, abs=1e-6)
    assert calibration_error(probability, train.wrong) <= 0.05
    assert probability[train.wrong].mean() > 3 * probability[~train.wrong].mean()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 999))
def test_the_probability_rises_with_the_ranking_and_ignores_the_order_of_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    held_out, train = draw(rng, 0.0, 200), draw(rng, 0.2, 300)
    calibrator = Calibrator(held_out.votes, NEIGHBOURS, held_out.labels)
    against = evidence(train.votes, NEIGHBOURS, train.labels)
    ranking = against + rng.normal(size=300)
    probability, _ = calibrator.probability(against, ranking)
    assert (np.diff(probability[np.argsort(ranking)]) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()
    order = rng.permutation(300)
    assert np.allclose(calibrator.probability(against[order], ranking[order])[0], probability[order], atol=1e-9)


def test_evidence_is_the_log_odds_of_the_favourite_other_label() -> None:
    votes = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    third = 1.0 / 3.0  # the one vote spread over the labels
    assert np.allclose(evidence(votes, 2, np.array([0, 1])), [0.0, np.log((2 + third) / third)])
    assert np.isfinite(evidence(np.array([[0.0, 1.0]]), 3, np.array([0]))).all()
