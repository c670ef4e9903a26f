"""Text as tf-idf: each text a sparse row of the weights of its words."""

from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer

from tasks.artifacts import SPARSE
from tasks.errors import UserError

WORDS: dict[str, Any] = {"strip_accents": "unicode", "lowercase": True, "token_pattern": r"(?u)\b\w\w+\b"}


def fit(texts: list[str], max_features: int) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The most frequent words of the training texts, in alphabetical order, and the idf of each.

    Raises:
        UserError: no text has a word.
    """
    counter = CountVectorizer(**WORDS)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:
        raise UserError(
            "the training texts hold no words of two letters or more: is this the column of text?"
        ) from None
    words = counter.get_feature_names_out()
    totals = np.asarray(counts.sum(axis=0)).ravel()
    # Of words equally frequent the first by name are kept; TfidfVectorizer leaves that to an unstable sort.
    kept = np.sort(np.lexsort((np.arange(len(words)), -totals))[:max_features])
    frequencies = TfidfTransformer().fit(counts[:, kept]).idf_
    return (len(kept),), {"vocabulary": words[kept].tolist(), "idf": frequencies.tolist()}


def encode(texts: list[str], details: dict[str, Any]) -> pa.Array:
    """Rows of length 1 (all zero where no word is known), as structs of indices and values."""
    offsets, indices, values = np.zeros(1, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
    if texts:
        vectorizer = TfidfVectorizer(**WORDS, vocabulary=details["vocabulary"], sublinear_tf=True, norm="l2")
        vectorizer.idf_ = np.asarray(details["idf"])
        rows = vectorizer.transform(texts)
        rows.sort_indices()
        offsets, indices, values = rows.indptr, rows.indices, rows.data
    return pa.StructArray.from_arrays(
        [_lists(offsets, indices.astype(np.int32)), _lists(offsets, values.astype(np.float32))],
        fields=list(SPARSE),
    )


def _lists(offsets: np.ndarray, values: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))
