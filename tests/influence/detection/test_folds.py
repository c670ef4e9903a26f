"""Cross-validated regressions against scikit-learn, one fold at a time."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from influence.detection import FoldRegressions, Standardiser

PENALTY = 0.01


def world(sample: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(sample, 6, generator=generator, dtype=torch.float64)
    labels = (features @ torch.randn(6, 3, generator=generator, dtype=torch.float64)).argmax(dim=1)
    return features, labels, torch.arange(sample) % 4


def test_every_fold_is_read_by_a_regression_that_has_not_seen_it() -> None:
    features, labels, fold = world()
    found = FoldRegressions(features, labels, 3, fold, PENALTY)
    others = torch.randn(7, 6, dtype=torch.float64)
    for part in range(4):
        seen, unseen = fold != part, fold == part
        single = LogisticRegression(C=1.0 / (PENALTY * int(seen.sum())), tol=1e-10, max_iter=5000)
        single.fit(features[seen].numpy(), labels[seen].numpy())
        expected = single.predict_log_proba(features[unseen].numpy())
        assert np.allclose(found.held_out()[unseen].numpy(), expected, atol=1e-3)
        assert np.allclose(found.of(others)[part].numpy(), single.predict_log_proba(others.numpy()), atol=1e-3)


def test_the_label_of_an_example_does_not_move_what_is_said_of_it() -> None:
    features, labels, fold = world()
    before = FoldRegressions(features, labels, 3, fold, PENALTY).held_out()
    changed = labels.clone()
    changed[5] = (labels[5] + 1) % 3
    after = FoldRegressions(features, changed, 3, fold, PENALTY).held_out()
    change = (before - after).abs().amax(dim=1)
    assert change[fold == fold[5]].max() < 1e-3 < 1e-2 < change[fold != fold[5]].max()  # to the optimiser's tolerance


def test_little_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, fold = world(60)
    whole = FoldRegressions(features, labels, 3, fold, PENALTY).held_out()
    monkeypatch.setattr("influence.detection.folds.VALUES", 100)
    assert torch.allclose(FoldRegressions(features, labels, 3, fold, PENALTY).held_out(), whole, atol=1e-6)


def test_standardised_features_are_centred_of_length_one_and_keep_their_distances() -> None:
    features = torch.randn(50, 5, dtype=torch.float64) * torch.arange(1.0, 6.0) + 3.0
    found = Standardiser(features)(features)
    assert torch.allclose(found.mean(dim=0), torch.zeros(5, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(found.square().sum(dim=1).mean(), torch.tensor(1.0, dtype=torch.float64))
    ratio = torch.cdist(found, found) / torch.cdist(features, features).clamp(min=1e-9)
    off = ~torch.eye(50, dtype=torch.bool)
    assert torch.allclose(ratio[off], ratio[off].mean())


def test_features_that_are_all_alike_are_finite() -> None:
    assert Standardiser(torch.ones(4, 3))(torch.ones(2, 3)).isfinite().all()


def test_another_penalty_to_start_from_leads_to_the_same_regressions() -> None:
    features, labels, fold = world()
    start = FoldRegressions(features, labels, 3, fold, 10 * PENALTY)
    before = start.held_out()
    found = FoldRegressions(features, labels, 3, fold, PENALTY, start=start).held_out()
    assert torch.allclose(found, FoldRegressions(features, labels, 3, fold, PENALTY).held_out(), atol=1e-3)
    assert torch.equal(start.held_out(), before)
