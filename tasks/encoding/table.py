"""Table rows as vectors: numbers standardised, categories one-hot.

A column of numbers is numeric. One of text is numeric when all its training values are numbers, or else
categorical. One of dtype `category` is categorical.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.encoding.image import tensor_column
from tasks.errors import UserError

Column = dict[str, Any]
Origin = Callable[[int], str]

MAX_CATEGORIES = 1_000
NEARLY_UNIQUE = 0.9  # share of distinct values above which a column of many categories is taken for free text


def fit(frame: pd.DataFrame, origin: Origin) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Learn mean, scale and median of the numbers, and the categories.

    Where a number is missing in training, it becomes the median, and a flag for it a feature of its own.
    A missing category is a category of its own, null.

    Raises:
        UserError: a column is empty, or a number infinite, or there are too many categories.
    """
    columns = [_fit_column(str(name), frame[name], origin) for name in frame.columns]
    return (sum(_width(column) for column in columns),), {"columns": columns}


def encode(frame: pd.DataFrame, details: dict[str, Any], origin: Origin) -> pa.Array:
    """Rows as float32 [D]; a category not seen in training is all zeros.

    Raises:
        UserError: a column is missing, or a value is not the number it must be.
    """
    columns: list[Column] = details["columns"]
    encoded = np.zeros((len(frame), sum(_width(column) for column in columns)), np.float32)
    start = 0
    for column in columns:
        name: str = column["name"]
        if name not in frame.columns:
            raise UserError(f"there is no column {name!r}, which the training data have: add it")
        block = encoded[:, start : start + _width(column)]
        if column["kind"] == "numeric":
            _encode_numeric(frame[name], column, block, origin)
        else:
            _encode_categorical(frame[name], column, block)
        start += block.shape[1]
    return tensor_column(encoded)


def _fit_column(name: str, values: pd.Series, origin: Origin) -> Column:
    if values.isna().all():
        raise UserError(f"column {name!r} has no values in the training split: list it under `prepare.source.ignore`")
    if not _is_numeric(values):
        return _fit_categorical(name, values)
    numbers = _numbers(name, values, origin)
    missing = np.isnan(numbers)
    median = float(np.median(numbers[~missing]))
    numbers[missing] = median
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(numbers.mean()), float(numbers.std())
    if not np.isfinite(mean) or not np.isfinite(scale):
        raise UserError(f"column {name!r} holds numbers too large to square: divide it by a constant")
    return {
        "name": name,
        "kind": "numeric",
        "mean": mean,
        "scale": scale if scale > 0 else 1.0,  # a column of one value is only centred
        "median": median,
        "flag_missing": bool(missing.any()),
    }


def _fit_categorical(name: str, values: pd.Series) -> Column:
    present = _strings(values.dropna())
    categories: list[str | None] = sorted(present.unique().tolist())
    share = len(categories) / len(present)
    if len(categories) > MAX_CATEGORIES or (len(categories) > 100 and share > NEARLY_UNIQUE):
        raise UserError(
            f"column {name!r} has {len(categories):,} different values in {len(present):,} training rows, "
            "too many for categories: list it under `prepare.source.ignore`, or name it as `text` or `id`"
        )
    if len(present) < len(values):
        categories.append(None)
    return {"name": name, "kind": "categorical", "categories": categories}


def _encode_numeric(values: pd.Series, column: Column, block: np.ndarray, origin: Origin) -> None:
    numbers = _numbers(column["name"], values, origin)
    missing = np.isnan(numbers)
    numbers[missing] = column["median"]
    standardised = (numbers - column["mean"]) / column["scale"]
    too_large = np.flatnonzero(np.abs(standardised) > np.finfo(np.float32).max)
    if len(too_large):
        raise UserError(f"column {column['name']!r} of {origin(int(too_large[0]))} is too large: correct it")
    block[:, 0] = standardised
    if column["flag_missing"]:
        block[:, 1] = missing


def _encode_categorical(values: pd.Series, column: Column, block: np.ndarray) -> None:
    categories = column["categories"]
    known = [category for category in categories if category is not None]
    codes = pd.Index(known, dtype=object).get_indexer(pd.Index(_strings(values), dtype=object))
    codes[values.isna().to_numpy()] = len(known) if None in categories else -1
    rows = np.flatnonzero(codes >= 0)
    block[rows, codes[rows]] = 1.0


def _width(column: Column) -> int:
    return 1 + column["flag_missing"] if column["kind"] == "numeric" else len(column["categories"])


def _is_numeric(values: pd.Series) -> bool:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return False
    if pd.api.types.is_numeric_dtype(values.dtype):
        return True
    return bool(pd.to_numeric(values.dropna(), errors="coerce").notna().all())


def _numbers(name: str, values: pd.Series, origin: Origin) -> np.ndarray:
    """float64 [N], NaN where a value is missing."""
    present = values.notna().to_numpy()
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "fiu":
        numbers = values.to_numpy(np.float64, copy=True)
    else:  # object first: a category or a nullable integer is not coerced otherwise
        numbers = pd.to_numeric(values.astype(object), errors="coerce").to_numpy(np.float64, na_value=np.nan, copy=True)
    wrong = np.flatnonzero(present & ~np.isfinite(numbers))
    if len(wrong):
        row = int(wrong[0])
        what = "infinite" if np.isinf(numbers[row]) else "not a number, as in the training split"
        raise UserError(
            f"column {name!r} of {origin(row)} is {values.iloc[row]!r}, {what}: correct it or remove the row"
        )
    return numbers


def _strings(values: pd.Series) -> pd.Series:
    """Categories as strings."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.dtype.categories.dtype)
    if isinstance(values.dtype, pd.StringDtype):
        return values
    return values.map(category, na_action="ignore")


def category(value: object) -> str:
    """The name of a category: whole numbers without a point, so that 3 and 3.0 and "3" are one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
