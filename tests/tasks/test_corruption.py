from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.corruption import corrupt

CLASSES = ["a", "b", "c", "d"]


def examples(count: int) -> tuple[list[str], list[str]]:
    return [f"id-{number}" for number in range(count)], [CLASSES[number % 4] for number in range(count)]


@given(st.integers(1, 120), st.floats(0, 1), st.integers(0, 3))
def test_the_share_is_changed_and_every_change_is_another_class(count: int, share: float, seed: int) -> None:
    ids, labels = examples(count)
    given_labels, changed = corrupt(ids, labels, CLASSES, share, seed)
    assert changed.sum() == round(share * count)
    assert [given != true for given, true in zip(given_labels, labels, strict=True)] == changed.tolist()
    assert set(given_labels) <= set(CLASSES)


def test_every_other_class_is_equally_likely() -> None:
    ids, _ = examples(9000)
    counts = Counter(corrupt(ids, ["a"] * 9000, CLASSES, 1.0, 0)[0])
    assert set(counts) == {"b", "c", "d"}
    assert all(abs(count - 3000) < 5 * np.sqrt(2000) for count in counts.values())  # five standard deviations


def test_an_added_row_leaves_the_corruption_of_others_alone() -> None:
    ids, labels = examples(400)
    before, changed = corrupt(ids, labels, CLASSES, 0.1, 0)
    after, changed_after = corrupt(["new", *ids], ["a", *labels], CLASSES, 0.1, 0)
    differing = [row for row in range(400) if before[row] != after[row + 1]]
    assert len(differing) <= 1  # the new row may take the place of one
    assert (changed != changed_after[1:]).sum() == len(differing)


def test_none_is_none() -> None:
    ids, labels = examples(50)
    assert corrupt(ids, labels, CLASSES, 0.0, 0)[0] == labels
