import pytest

from tasks.errors import UserError
from tasks.labels import require_known, require_present, resolve_classes
from tasks.sources import Examples


def labelled(*labels: str) -> Examples:
    return Examples(list(labels), [f"text {row}" for row in range(len(labels))])


def test_found_labels_are_sorted_and_numbers_by_size() -> None:
    assert resolve_classes(None, labelled("dog", "cat", "dog")) == ["cat", "dog"]
    assert resolve_classes(None, labelled("10", "9", "2")) == ["2", "9", "10"]
    assert resolve_classes(None, labelled("2", "--1")) == ["--1", "2"]
    assert resolve_classes(None, labelled("10", "9", "x")) == ["10", "9", "x"]


def test_allowed_classes_keep_their_order() -> None:
    assert resolve_classes(["dog", "cat"], labelled("cat", "dog")) == ["dog", "cat"]


def test_one_class_is_too_few() -> None:
    with pytest.raises(UserError, match=r"all examples have the label 'cat': at least two classes are needed"):
        resolve_classes(None, labelled("cat", "cat"))


def test_a_class_named_twice() -> None:
    with pytest.raises(UserError, match=r"the class 'cat' is named twice"):
        resolve_classes(["cat", "dog", "cat"], labelled("cat", "dog"))


def test_an_unknown_label_is_named_with_its_row() -> None:
    with pytest.raises(UserError, match=r"unknown label 'bird' in row 2: .*`prepare.classes`.*cat, dog"):
        require_known(labelled("cat", "bird"), ["cat", "dog"])


def test_an_empty_class_is_named() -> None:
    with pytest.raises(UserError, match=r"empty class: no training example has the label 'dog'"):
        require_present(labelled("cat", "cat"), ["cat", "dog"])
