"""Raw inputs as arrays a model can read. What an encoder learns, it learns from the training split alone.

Every encoder is two functions, `fit(inputs, ...) -> (shape, details)` and `encode(inputs, details, ...)`.
The details are JSON, so that encoding.json is enough to encode new data the same way.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.artifacts import Encoding
from tasks.encoding import image, table, text
from tasks.sources.examples import Examples


def fit(training: Examples, classes: list[str], max_text_features: int) -> Encoding:
    """Learn how to encode from the training split.

    Raises:
        UserError: the inputs cannot be encoded, with the column and the row.
    """
    if isinstance(training.inputs, np.ndarray):
        return Encoding("image", classes, *image.fit(training.inputs))
    if isinstance(training.inputs, pd.DataFrame):
        return Encoding("table", classes, *table.fit(training.inputs, training.origin))
    return Encoding("text", classes, *text.fit(training.inputs, max_text_features))


def encode(examples: Examples, encoding: Encoding) -> pa.Array:
    """Encode any examples, seen in training or not, as the column `input` of data/prepared/*.parquet.

    Raises:
        UserError: the inputs are not such as the encoding was learned from.
    """
    match examples.inputs:
        case np.ndarray():
            return image.encode(examples.inputs, encoding.shape)
        case pd.DataFrame():
            return table.encode(examples.inputs, encoding.details, examples.origin)
        case _:
            return text.encode(examples.inputs, encoding.details)
