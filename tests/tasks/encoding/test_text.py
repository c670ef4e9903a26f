import json

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from tasks.artifacts import SPARSE
from tasks.encoding import text
from tasks.errors import UserError

TEXTS = ["The café is open, the bar is not", "the bar", "", "open open OPEN café bar", "<script>alert('x1')</script>"]


def dense(column: pa.Array, width: int) -> np.ndarray:
    indices, values = column.field("indices"), column.field("values")
    parts = (values.flatten().to_numpy(), indices.flatten().to_numpy(), indices.offsets.to_numpy())
    return scipy.sparse.csr_matrix(parts, shape=(len(column), width)).toarray()


def test_rows_are_those_of_scikit_learn() -> None:
    (width,), details = text.fit(TEXTS, 5000)
    column = text.encode(TEXTS, json.loads(json.dumps(details, allow_nan=False)))
    expected = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode").fit(TEXTS)
    assert column.type == SPARSE
    assert details["vocabulary"] == expected.get_feature_names_out().tolist()
    np.testing.assert_allclose(dense(column, width), expected.transform(TEXTS).toarray(), atol=1e-6)


def test_an_empty_text_is_a_row_of_zeros_and_no_texts_are_no_rows() -> None:
    (width,), details = text.fit(TEXTS, 5000)
    assert not dense(text.encode([""], details), width).any()
    assert not dense(text.encode(["never seen words"], details), width).any()
    assert len(text.encode([], details)) == 0


def test_the_most_frequent_words_are_kept_and_ties_are_broken_by_name() -> None:
    (width,), details = text.fit(["pear pear pear apple plum fig", "pear plum fig apple"], 3)
    assert width == 3
    assert details["vocabulary"] == ["apple", "fig", "pear"]


def test_no_words_at_all() -> None:
    with pytest.raises(UserError, match=r"the training texts hold no words"):
        text.fit(["", "1 2 3", "?!"], 5000)
