"""Examples from a function of the user's own."""

from pathlib import Path

import numpy as np
import pandas as pd

from tasks.errors import UserError
from tasks.objects import load_object
from tasks.parameters import FunctionSource
from tasks.sources.examples import Examples, Inputs

KEY = "prepare.source.function"


def read(source: FunctionSource, path: Path) -> Examples:
    """Call `function(path, **arguments)` and check what it returns.

    Raises:
        UserError: there is no such function, or it does not return sound `Examples`.
    """
    examples = load_object(source.function, KEY)(path, **source.arguments)
    if not isinstance(examples, Examples):
        raise UserError(f"{source.function} returned {type(examples).__name__}: it must return tasks.sources.Examples")
    if len(examples) == 0:
        raise UserError(f"{source.function} returned no examples for {path}")
    _check_inputs(examples.inputs, source.function)
    columns = {"ids": examples.ids, "labels": examples.labels, "contents": examples.contents}
    columns |= {f"slices[{name!r}]": values for name, values in examples.slices.items()}
    for name, values in columns.items():
        if values is not None:
            _check_strings(name, values, source.function)
    for name, count in [
        ("inputs", len(examples.inputs)),
        *((key, len(v)) for key, v in columns.items() if v is not None),
    ]:
        if count != len(examples):
            raise UserError(f"{source.function} returned {count:,} {name} for {len(examples):,} labels")
    return examples


def _check_inputs(inputs: Inputs, function: str) -> None:
    match inputs:
        case np.ndarray():
            if inputs.dtype != np.uint8 or inputs.ndim != 4 or inputs.shape[1] not in (1, 3) or 0 in inputs.shape:
                raise UserError(
                    f"{function} returned inputs of type {inputs.dtype} and shape {list(inputs.shape)}: "
                    "images must be uint8 [N, 1 or 3, height, width]; return numbers as a pandas DataFrame"
                )
        case pd.DataFrame():
            if not inputs.columns.is_unique or not all(isinstance(name, str) for name in inputs.columns):
                raise UserError(f"{function} returned columns {list(inputs.columns)}: name each by a string of its own")
            missing = inputs.isna().to_numpy()
            if missing.any():
                row, column = np.argwhere(missing)[0]
                raise UserError(
                    f"{function} returned a missing value in column {inputs.columns[column]!r}, row {row + 1}"
                )
        case list():
            _check_strings("inputs", inputs, function)
        case _:
            raise UserError(
                f"{function} returned inputs of type {type(inputs).__name__}: "
                "return a uint8 numpy array, a pandas DataFrame or a list of texts"
            )


def _check_strings(name: str, values: object, function: str) -> None:
    if not isinstance(values, list):
        raise UserError(f"{function} returned {name} as {type(values).__name__}: return a list of strings")
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise UserError(f"{function} returned {value!r} in {name}, row {row + 1}: return strings")
        if name == "labels" and not value:
            raise UserError(f"{function} returned an empty label in row {row + 1}")
