"""Folds, and witnesses that never saw the label."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from tasks.errors import UserError
from tasks.out_of_sample import Witnesses, cross_validate, folds_of, learn_from_validation


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


def opinion(labels: np.ndarray, rng: np.random.Generator, blur: float = 1.5) -> np.ndarray:
    """Too sure log-probabilities of two classes, by a source that does not know the labels well."""
    score = (2.0 * labels - 1.0) + blur * rng.normal(size=len(labels))
    return log_softmax(np.stack([np.zeros(len(labels)), 4.0 * score], axis=1), axis=1)


def test_a_source_of_several_models_is_heard_one_opinion_at_a_time() -> None:
    """Opinions that err on their own would look surer averaged than the one that a training example gets."""
    rng = np.random.default_rng(0)
    truth, held_out = rng.integers(2, size=2000), rng.integers(2, size=1000)
    given = np.where(rng.random(2000) < 0.1, 1 - truth, truth)
    witnesses = Witnesses(given, held_out, np.arange(2000) % 2 == 0)
    witnesses.add(opinion(truth, rng), np.stack([opinion(held_out, rng), opinion(held_out, rng)]))
    witnesses.add(np.log(np.full((2000, 2), 0.5)), np.log(np.full((1, 1000, 2), 0.5)))
    wrong = 1.0 - witnesses.belief(trusted=True).posterior[np.arange(2000), given]
    assert wrong.mean() == pytest.approx((given != truth).mean(), abs=0.04)
    place = np.minimum((10 * wrong).astype(int), 9)
    gaps = [abs((wrong - (given != truth))[place == one].sum()) for one in range(10)]
    assert sum(gaps) / 2000 <= 0.03  # expected calibration error


def test_validation_labels_as_wrong_as_those_of_training_are_seen_through() -> None:
    rng = np.random.default_rng(0)
    truth, held_out = rng.integers(2, size=3000), rng.integers(2, size=1500)
    given, noisy = (np.where(rng.random(len(own)) < 0.15, 1 - own, own) for own in (truth, held_out))
    expected = {}
    for name, labels in (("right", held_out), ("wrong", noisy)):
        witnesses = Witnesses(given, labels, np.arange(3000) % 2 == 0)
        for _ in range(2):
            witnesses.add(opinion(truth, rng, 0.5), opinion(held_out, rng, 0.5)[None])
        trusted = witnesses.trust_validation()
        assert trusted is (name == "right")
        expected[name] = 1.0 - witnesses.belief(trusted).posterior[np.arange(3000), given].mean()
    assert expected == pytest.approx({"right": 0.15, "wrong": 0.15}, abs=0.02)
    assert 1.0 - witnesses.belief(trusted=True).posterior[np.arange(3000), given].mean() < 0.05  # misled


def test_shares_that_differ_by_chance_in_untrusted_validation_labels_are_no_errors() -> None:
    """The same 15 % of errors in both sets, which look like hard examples: nothing tells how the labels go wrong."""
    rng = np.random.default_rng(3)
    truth, held_out = rng.integers(2, size=4000), (rng.random(300) < 0.42).astype(int)
    sources = [(opinion(truth, rng), opinion(held_out, rng)) for _ in range(2)]

    def hard_ones_wrong(labels: np.ndarray, logs: np.ndarray) -> np.ndarray:
        doubt = -logs[np.arange(len(labels)), labels]
        return np.where(doubt > np.quantile(doubt, 0.85), 1 - labels, labels)

    given, noisy = hard_ones_wrong(truth, sources[0][0]), hard_ones_wrong(held_out, sources[0][1])
    witnesses = Witnesses(given, noisy, np.arange(4000) % 2 == 0)
    for own, others in sources:
        witnesses.add(own, others[None])
    belief = witnesses.belief(trusted=False)
    assert belief.classes.mean(axis=0) == pytest.approx(np.bincount(given) / 4000, abs=1e-3)
    assert belief.errors.rates[0, 1] == pytest.approx(belief.errors.rates[1, 0], rel=1e-3)


def test_what_was_mended_is_still_counted_among_the_errors() -> None:
    """The labels that nobody mended are as wrong as before, and as probably wrong."""
    rng = np.random.default_rng(0)
    truth, held_out = rng.integers(2, size=4000), rng.integers(2, size=1500)
    came = np.where(rng.random(4000) < 0.2, 1 - truth, truth)
    mended = rng.random(4000) < 0.9
    now, rest = np.where(mended, truth, came), ~mended
    expected = {}
    for name, known in (("with", came), ("without", None)):
        witnesses = Witnesses(now, held_out, np.arange(4000) % 2 == 0, known)
        witnesses.add(opinion(truth, np.random.default_rng(1)), opinion(held_out, np.random.default_rng(2))[None])
        assert witnesses.trust_validation() is (name == "with")
        posterior = witnesses.belief(trusted=True).posterior
        expected[name] = 1.0 - posterior[np.arange(4000), now][rest].mean()
    assert expected["with"] == pytest.approx((came != truth)[rest].mean(), abs=0.03)
    assert expected["without"] < 0.12


def test_what_validation_teaches_is_asked_of_those_that_have_not_seen_the_example() -> None:
    rng = np.random.default_rng(0)
    held_out_labels, fold = rng.integers(2, size=60), np.arange(60) % 3
    held_out = torch.from_numpy(rng.normal(size=(60, 4)) + 2.0 * held_out_labels[:, None])
    features = torch.from_numpy(rng.normal(size=(10, 4)))
    train, before = learn_from_validation(features, 2, fold, held_out, held_out_labels)
    assert train.shape == (10, 2) and before.shape == (1, 60, 2)
    assert (before[0].argmax(axis=1) == held_out_labels).mean() > 0.9
    changed = held_out_labels.copy()
    changed[7] = 1 - changed[7]
    after = learn_from_validation(features, 2, fold, held_out, changed)[1]
    change = np.abs(after - before)[0].max(axis=1)
    assert 10 * change[fold == fold[7]].max() < change[fold != fold[7]].min()  # solved together, to a tolerance
