import json

import numpy as np
import pandas as pd
import pytest

from tasks.encoding import table
from tasks.errors import UserError
from tasks.sources.examples import row_number

TRAINING = pd.DataFrame(
    {
        "age": ["20", "30", "40", "30.0"],  # text of a CSV file
        "height": [1.5, 2.5, 1.5, 2.5],
        "job": ["clerk", "boss", "clerk", "cook"],
        "code": pd.Series([7, 8, 7, 8], dtype="category"),
        "same": [5, 5, 5, 5],
    }
)


def encoded(training: pd.DataFrame, new: pd.DataFrame) -> np.ndarray:
    """`new` encoded by what encoding.json would hold of `training`."""
    _, details = table.fit(training, row_number)
    return table.encode(new, json.loads(json.dumps(details, allow_nan=False)), row_number).to_numpy_ndarray()


def test_numbers_are_standardised_and_categories_one_hot() -> None:
    age, height, *one_hot, same = encoded(TRAINING, TRAINING).T
    np.testing.assert_allclose(age, np.array([-1, 0, 1, 0]) * np.sqrt(2), atol=1e-6)
    np.testing.assert_allclose(height, [-1, 1, -1, 1])
    boss, clerk, cook, seven, eight = one_hot
    assert clerk.tolist() == [1, 0, 1, 0]
    assert boss.tolist() == [0, 1, 0, 0] and cook.tolist() == [0, 0, 0, 1]
    assert seven.tolist() == [1, 0, 1, 0] and eight.tolist() == [0, 1, 0, 1]
    assert same.tolist() == [0, 0, 0, 0]


def test_new_rows_are_encoded_alone_as_they_are_in_company() -> None:
    together = encoded(TRAINING, TRAINING)
    alone = [encoded(TRAINING, TRAINING.iloc[[row]])[0] for row in range(len(TRAINING))]
    np.testing.assert_array_equal(alone, together)


def test_an_unknown_category_is_all_zeros() -> None:
    new = TRAINING.assign(job="pilot")
    assert (encoded(TRAINING, new)[:, 2:5] == 0).all()


def test_codes_are_the_same_category_in_every_type() -> None:
    training = pd.DataFrame({"code": pd.Series(["7", "8"], dtype="category")})
    for codes in ([8], [8.0], ["8"]):
        assert encoded(training, pd.DataFrame({"code": codes})).tolist() == [[0, 1]]


def test_missing_numbers_become_the_training_median_with_a_flag() -> None:
    training = pd.DataFrame({"x": ["1", None, "2", "9"]})
    values = encoded(training, pd.DataFrame({"x": ["2", None, None]}))
    np.testing.assert_allclose(values[:, 0], values[0, 0])  # the median of 1, 2, 9 is 2
    assert values[:, 1].tolist() == [0, 1, 1]


def test_missing_categories_are_a_category() -> None:
    training = pd.DataFrame({"x": ["a", None, "b"]})
    assert encoded(training, training).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    nullable = pd.DataFrame({"x": pd.Series([1, None, 3], dtype="Int64")})
    assert encoded(nullable, nullable)[:, 1].tolist() == [0, 1, 0]


def test_a_word_among_new_numbers() -> None:
    with pytest.raises(UserError, match=r"column 'age' of row 2 is 'old', not a number, as in the training split"):
        encoded(TRAINING, TRAINING.assign(age=["20", "old", "30", "40"]))


TOO_LARGE = pytest.param(
    "1e999",
    marks=pytest.mark.skipif(
        pd.__version__ < "3", reason="pandas 2 takes it for a word, and the column for categories"
    ),
)


@pytest.mark.parametrize("infinite", ["inf", -np.inf, TOO_LARGE])
def test_infinite_numbers(infinite: object) -> None:
    bad = pd.DataFrame({"x": pd.Series([1, 2, infinite], dtype=object)})
    with pytest.raises(UserError, match=r"column 'x' of row 3 is .*inf|column 'x' of row 3 is '1e999', infinite"):
        table.fit(bad, row_number)


def test_numbers_too_large() -> None:
    with pytest.raises(UserError, match=r"column 'x' holds numbers too large to square"):
        table.fit(pd.DataFrame({"x": [1e300, -1e300]}), row_number)
    with pytest.raises(UserError, match=r"column 'x' of row 2 is too large"):
        encoded(pd.DataFrame({"x": [0.0, 1.0]}), pd.DataFrame({"x": [0.0, 1e300]}))


def test_too_many_categories() -> None:
    names = pd.DataFrame({"name": [f"person {row}" for row in range(200)]})
    with pytest.raises(UserError, match=r"column 'name' has 200 different values in 200 training rows.*`text` or `id`"):
        table.fit(names, row_number)
    words = pd.DataFrame({"word": [f"word {row % 1001}" for row in range(3000)]})
    with pytest.raises(UserError, match=r"column 'word' has 1,001 different values"):
        table.fit(words, row_number)


def test_columns_without_values_or_not_there() -> None:
    with pytest.raises(UserError, match=r"column 'x' has no values in the training split"):
        table.fit(pd.DataFrame({"x": [None, None]}), row_number)
    with pytest.raises(UserError, match=r"there is no column 'same'"):
        encoded(TRAINING, TRAINING.drop(columns="same"))
