"""Folds, and witnesses that never saw the label."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from tasks.errors import UserError
from tasks.out_of_sample import Witnesses, cross_validate, folds_of


def test_folds_are_of_equal_size_and_follow_the_ids() -> None:
    ids = [f"id-{number}" for number in range(23)]
    fold, order = folds_of(ids, 5, 0), np.random.default_rng(0).permutation(23)
    assert sorted(np.bincount(fold)) == [4, 4, 5, 5, 5]
    assert (folds_of([ids[row] for row in order], 5, 0) == fold[order]).all()
    assert (folds_of(ids, 5, 1) != fold).any()


def test_features_without_end_are_told() -> None:
    labels, fold = torch.tensor([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    with pytest.raises(UserError, match=r"did not converge: set `flag.folds: 0`"):
        cross_validate(torch.full((4, 2), torch.nan), labels, 2, fold, torch.ones(2, 2), np.array([0, 1]))


def test_a_source_of_several_models_is_heard_one_opinion_at_a_time() -> None:
    """Opinions that err on their own would look surer averaged than the one that a training example gets."""
    rng = np.random.default_rng(0)
    truth, held_out = rng.integers(2, size=2000), rng.integers(2, size=1000)

    def opinion(labels: np.ndarray) -> np.ndarray:
        score = (2.0 * labels - 1.0) + 1.5 * rng.normal(size=len(labels))
        return log_softmax(np.stack([np.zeros(len(labels)), 4.0 * score], axis=1), axis=1)

    given = np.where(rng.random(2000) < 0.1, 1 - truth, truth)
    witnesses = Witnesses(given, held_out, np.arange(2000) % 2 == 0)
    witnesses.add(opinion(truth), np.stack([opinion(held_out), opinion(held_out)]))
    witnesses.add(np.log(np.full((2000, 2), 0.5)), np.log(np.full((1, 1000, 2), 0.5)))
    wrong = 1.0 - witnesses.posterior()[np.arange(2000), given]
    assert wrong.mean() == pytest.approx((given != truth).mean(), abs=0.04)
    place = np.minimum((10 * wrong).astype(int), 9)
    gaps = [abs((wrong - (given != truth))[place == one].sum()) for one in range(10)]
    assert sum(gaps) / 2000 <= 0.03  # expected calibration error
