"""Which slice every example belongs to: by its label, by what is predicted, by a slice column, or by a feature."""

import itertools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import read_table
from tasks.dataset import load_encoding
from tasks.encoding.table import category
from tasks.errors import UserError
from tasks.workspace import SplitName, Workspace

PREDICTED = ("label", "predicted")  # columns of the predictions
MOST = 12  # slices; the rarer values make one more together
MISSING = "(missing)"


@dataclass(frozen=True)
class Grouping:
    """Slices by one column.

    Attributes:
        names: of the slices: numbers rising, anything else by how many examples there are, the most first.
        codes: positions in `names`, an array [N] a split.
    """

    names: list[str]
    codes: list[np.ndarray]


def group(workspace: Workspace, column: str, predictions: Mapping[SplitName, pa.Table]) -> Grouping:
    """Slices of some splits.

    Args:
        column: label or predicted; named in `prepare.source.slices`; or a feature of a table.
        predictions: label and predicted, by split; the quartiles of the first split cut a feature that is an amount.

    Raises:
        UserError: there is no such column, or a prepared file is missing.
    """
    if column in PREDICTED:
        return by_name([table[column].to_pylist() for table in predictions.values()])
    slices, features = _slice_columns(workspace), _features(workspace)
    if column in slices:
        return by_name([[v or MISSING for v in _read(workspace, split, f"slice_{column}")] for split in predictions])
    if column not in features:
        raise UserError(
            f"there is no column {column!r} to slice by: take one of {', '.join([*PREDICTED, *slices, *features])}, "
            "or name another column of the data in `prepare.source.slices` and rerun"
        )
    rows = [[json.loads(row)[column] for row in _read(workspace, split, "display")] for split in predictions]
    if features[column] == "numeric":
        return by_amount([np.array([np.nan if v is None else float(v) for v in values]) for values in rows])
    return by_name([[MISSING if v is None else category(v) for v in values] for values in rows])


def by_name(columns: list[list[str]]) -> Grouping:
    """A slice a value; beyond a number of them, the rarest values are one slice together."""
    counted = sum((Counter(values) for values in columns), Counter[str]())
    frequent = sorted(counted, key=lambda value: (-counted[value], value))
    names, rare = (frequent, []) if len(frequent) <= MOST + 1 else (frequent[:MOST], frequent[MOST:])
    code = {value: position for position, value in enumerate(names)} | dict.fromkeys(rare, MOST)
    if rare:
        names = [*names, f"({len(rare):,} other values)"]
    return Grouping(names, [np.array([code[value] for value in values], np.int64) for values in columns])


def by_amount(columns: list[np.ndarray]) -> Grouping:
    """A slice a value where they are few, else a slice a quarter of the first column; NaN is a slice of its own."""
    present = columns[0][~np.isnan(columns[0])]
    distinct = np.unique(np.concatenate(columns))
    distinct = distinct[~np.isnan(distinct)]
    if len(distinct) <= MOST:
        edges, names = distinct[1:], [_written(value) for value in distinct]
    else:
        edges = np.unique(np.quantile(present, (0.25, 0.5, 0.75)))
        edges = edges[edges > distinct[0]]  # an edge at the smallest would leave the slice below it empty
        if not len(edges):  # more than three quarters have the smallest value: the others are a slice
            edges = distinct[1:2]
        words = [_written(edge) for edge in edges]
        between = [f"{low} to below {high}" for low, high in itertools.pairwise(words)]
        names = [f"below {words[0]}", *between, f"{words[-1]} and above"]
    codes = [np.where(np.isnan(values), len(names), np.searchsorted(edges, values, side="right")) for values in columns]
    gaps = any(bool(np.isnan(values).any()) for values in columns)
    return Grouping([*names, MISSING] if gaps else names, codes)


def _written(value: float) -> str:
    return f"{value:,.6g}"


def _read(workspace: Workspace, split: SplitName, column: str) -> list[str]:
    values: list[str] = read_table(workspace.split(split), [column])[0].to_pylist()
    return values


def _slice_columns(workspace: Workspace) -> list[str]:
    names = pq.read_schema(workspace.split("train")).names
    return [name.removeprefix("slice_") for name in names if name.startswith("slice_")]


def _features(workspace: Workspace) -> dict[str, str]:
    """Features of a table by name: numeric or categorical; none of other data."""
    encoding = load_encoding(workspace)
    return {each["name"]: each["kind"] for each in encoding.details["columns"]} if encoding.kind == "table" else {}
