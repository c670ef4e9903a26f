import dataclasses

import numpy as np
import pandas as pd
import pytest

from tasks.errors import UserError
from tasks.identity import example_ids
from tasks.sources import Examples

TEXTS = Examples(["x", "y", "x", "y"], ["one", "two", "one", "one"])


def test_the_id_is_of_the_input_and_not_of_the_label() -> None:
    relabelled = dataclasses.replace(TEXTS, labels=["y", "y", "y", "x"])
    assert example_ids(TEXTS) == example_ids(relabelled)


def test_equal_inputs_are_numbered_over_all_data_sets() -> None:
    (first, second, third, fourth), (held_out,) = example_ids(TEXTS, Examples(["x"], ["one"]))
    assert len(first) == 16 and first != second
    assert [third, fourth, held_out] == [f"{first}-2", f"{first}-3", f"{first}-4"]


def test_images_and_rows_have_ids_of_their_content() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(3, 1, 2, 4)
    forward = example_ids(Examples(["a"] * 3, images))[0]
    backward = example_ids(Examples(["a"] * 3, images[::-1]))[0]
    assert forward == backward[::-1] and len(set(forward)) == 3
    frame = pd.DataFrame({"age": ["39", "50"], "job": ["clerk", None]})
    assert len(set(example_ids(Examples(["a", "b"], frame))[0])) == 2


def test_given_ids_are_kept() -> None:
    assert example_ids(dataclasses.replace(TEXTS, ids=["d", "c", "b", "a"])) == [["d", "c", "b", "a"]]


def test_a_duplicate_id_is_named_with_both_rows() -> None:
    with pytest.raises(UserError, match=r"duplicate id 'a' in row 1 and in row 3"):
        example_ids(dataclasses.replace(TEXTS, ids=["a", "b", "a", "c"]))


def test_an_id_of_the_test_data_may_not_be_one_of_the_training_data() -> None:
    held_out = Examples(["x"], ["three"], ids=["b"], origin=lambda row: f"row {row + 1} of test.csv")
    with pytest.raises(UserError, match=r"duplicate id 'b' in row 2 and in row 1 of test.csv"):
        example_ids(dataclasses.replace(TEXTS, ids=["a", "b", "c", "d"]), held_out)


def test_an_empty_id() -> None:
    with pytest.raises(UserError, match=r"empty id in row 2"):
        example_ids(dataclasses.replace(TEXTS, ids=["a", "", "c", "d"]))
