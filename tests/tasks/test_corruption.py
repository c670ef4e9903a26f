"""Labels changed on purpose: how many, which, and to what."""

from collections import Counter

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from tasks.corruption import Kind, corrupt, nearest_other_class

CLASSES = ["a", "b", "c", "d"]
KINDS: list[Kind] = ["uniform", "pair", "feature"]


def examples(count: int) -> tuple[list[str], list[str]]:
    return [f"id-{number}" for number in range(count)], [CLASSES[number % 4] for number in range(count)]


def inputs_of(labels: list[str], seed: int = 0) -> np.ndarray:
    """Four clusters on a line, 3 apart, of standard deviation 1, in two dimensions."""
    centres = np.array([[3.0 * CLASSES.index(label), 0.0] for label in labels]).reshape(-1, 2)
    found: np.ndarray = centres + np.random.default_rng(seed).normal(size=centres.shape)
    return found


@given(st.integers(1, 120), st.floats(0, 1), st.integers(0, 3), st.sampled_from(KINDS))
def test_the_share_is_changed_and_every_change_is_another_class(
    count: int, share: float, seed: int, kind: Kind
) -> None:
    ids, labels = examples(count)
    given_labels, changed = corrupt(ids, labels, CLASSES, share, seed, kind, inputs_of(labels))
    assert changed.sum() == round(share * count)
    if count > 1:  # alone, an example has no other class to look like
        assert [given != true for given, true in zip(given_labels, labels, strict=True)] == changed.tolist()
    assert set(given_labels) <= set(CLASSES)


def test_uniform_errors_go_to_every_other_class_alike() -> None:
    ids, _ = examples(9000)
    counts = Counter(corrupt(ids, ["a"] * 9000, CLASSES, 1.0, 0)[0])
    assert set(counts) == {"b", "c", "d"}
    assert all(abs(count - 3000) < 5 * np.sqrt(2000) for count in counts.values())  # five standard deviations


def test_pair_errors_go_to_the_next_class() -> None:
    ids, labels = examples(40)
    given_labels, changed = corrupt(ids, labels, CLASSES, 0.5, 0, "pair")
    moved = [(labels[row], given_labels[row]) for row in np.flatnonzero(changed)]
    assert set(moved) <= {("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")} and len(moved) == 20


def test_feature_errors_are_of_examples_near_another_class_and_go_to_that_class() -> None:
    ids, labels = examples(4000)
    inputs = inputs_of(labels)
    nearness, other = nearest_other_class(inputs, np.array([CLASSES.index(label) for label in labels]), 4)
    given_labels, changed = corrupt(ids, labels, CLASSES, 0.1, 0, "feature", inputs)
    assert [CLASSES.index(given_labels[row]) for row in np.flatnonzero(changed)] == other[changed].tolist()
    order = np.argsort(nearness)
    far, near = changed[order[:1000]].mean(), changed[order[-400:]].mean()
    assert far < 0.05 < 0.3 < near < 0.55  # more often where classes meet, but never as a rule
    with pytest.raises(ValueError, match="need the inputs"):
        corrupt(ids, labels, CLASSES, 0.1, 0, "feature")


def test_nearness_is_the_place_between_the_class_means_dense_or_sparse() -> None:
    inputs = np.array([[0.0, 0.0], [0.0, 2.0], [4.0, 1.0], [4.0, 1.0], [1.0, 9.0]])
    labels = np.array([0, 0, 1, 1, 2])
    nearness, other = nearest_other_class(inputs, labels, 4)  # the fourth class has no example
    means = [np.array([0.0, 1.0]), np.array([4.0, 1.0]), np.array([1.0, 9.0])]
    for row, (vector, label) in enumerate(zip(inputs, labels, strict=True)):
        places = {
            k: (vector - means[label]) @ (means[k] - means[label]) / ((means[k] - means[label]) ** 2).sum()
            for k in range(3)
            if k != label
        }
        assert other[row] == max(places, key=lambda k: places[k])
        assert nearness[row] == pytest.approx(max(places.values()), abs=1e-6)
    sparse = nearest_other_class(scipy.sparse.csr_matrix(inputs), labels, 4)
    assert np.allclose(sparse[0], nearness, atol=1e-6) and (sparse[1] == other).all()


def test_an_added_row_leaves_the_corruption_of_others_alone() -> None:
    ids, labels = examples(400)
    before, changed = corrupt(ids, labels, CLASSES, 0.1, 0)
    after, changed_after = corrupt(["new", *ids], ["a", *labels], CLASSES, 0.1, 0)
    differing = [row for row in range(400) if before[row] != after[row + 1]]
    assert len(differing) <= 1  # the new row may take the place of one
    assert (changed != changed_after[1:]).sum() == len(differing)


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_none(kind: Kind) -> None:
    ids, labels = examples(50)
    assert corrupt(ids, labels, CLASSES, 0.0, 0, kind, inputs_of(labels))[0] == labels
