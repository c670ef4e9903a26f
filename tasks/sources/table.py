"""A CSV or Parquet file with a label and features, a text or a picture in each row."""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.errors import UserError
from tasks.parameters import TableSource
from tasks.sources import csv_file, parquet_file
from tasks.sources.examples import Examples, require_labels
from tasks.sources.picture import decode_pictures

Origin = Callable[[int], str]


def read(source: TableSource, path: Path) -> Examples:
    """Read the columns that the source names.

    Raises:
        UserError: the file cannot be read, a column is missing, or a value that must be there.
    """
    names = csv_file.column_names(source, path) if source.kind == "csv" else parquet_file.column_names(path)
    inputs = _input_columns(source, names, path)
    wanted = list(dict.fromkeys([source.label, *([source.id] if source.id else []), *source.slices, *inputs]))
    _require_columns([*wanted, *source.ignore, *source.categorical], names, path)
    table = csv_file.read(source, path) if source.kind == "csv" else parquet_file.read(path, wanted)
    if len(table) == 0:
        raise UserError(f"{path} holds no rows: `prepare.path` must name a file with data")
    row_name = "data row" if source.kind == "csv" else "row"

    def origin(row: int) -> str:
        return f"{row_name} {row + 1} of {path}"

    labels = require_labels(table.strings(source.label), source.label, origin)
    ids = _require_ids(table.strings(source.id), source.id, origin) if source.id else None
    slices = {name: [value or "" for value in table.strings(name)] for name in source.slices}
    contents = None
    values: np.ndarray | pd.DataFrame | list[str]
    if source.image is not None:
        files = _require_pictures(table.blobs(source.image), source.image, origin)
        contents = [hashlib.sha256(file).hexdigest() for file in files]
        values = decode_pictures(files, len(files), origin, source.size, source.channels)
    elif source.text is not None:
        values = _require_texts(table.texts(source.text), source.text, origin)
    else:
        values = _features(source, table, inputs, origin)
    return Examples(labels, values, ids, slices, contents=contents, origin=origin)


def _input_columns(source: TableSource, names: list[str], path: Path) -> list[str]:
    single = source.text or source.image
    if single is not None:
        return [single]
    named = {source.label, source.id, *source.slices, *source.ignore}
    inputs = [name for name in names if name not in named] if source.features is None else source.features
    if source.label in inputs:
        raise UserError(f"`prepare.source.features` names the label {source.label!r}: a model would only read it off")
    if not inputs:
        raise UserError(f"{path} has no columns left for features: its columns are {', '.join(names)}")
    return inputs


def _require_columns(wanted: list[str], names: list[str], path: Path) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{path} has more than one column {name!r}: rename one")
    for name in wanted:
        if name not in names:
            raise UserError(
                f"{path} has no column {name!r}, which `prepare.source` names: its columns are {', '.join(names)}"
            )


def _require_ids(ids: list[str | None], column: str, origin: Origin) -> list[str]:
    for row, value in enumerate(ids):
        if not value:
            raise UserError(f"missing id in column {column!r} of {origin(row)}: give it an id or leave `id` out")
    return [value for value in ids if value]


def _require_pictures(files: list[bytes | None], column: str, origin: Origin) -> list[bytes]:
    for row, file in enumerate(files):
        if not file:
            raise UserError(f"missing image in column {column!r} of {origin(row)}: fill it or remove the row")
    return [file for file in files if file]


def _require_texts(texts: list[str | None], column: str, origin: Origin) -> list[str]:
    """Texts; an empty one is allowed, a null is not."""
    for row, text in enumerate(texts):
        if text is None:
            raise UserError(f"missing text in column {column!r} of {origin(row)}: fill it or remove the row")
    return [text for text in texts if text is not None]


def _features(
    source: TableSource, table: "csv_file.Csv | parquet_file.Parquet", names: list[str], origin: Origin
) -> pd.DataFrame:
    columns = {name: table.feature(name, name in source.categorical) for name in names}
    if source.missing == "error":
        for name, column in columns.items():
            missing = np.flatnonzero(column.isna().to_numpy())
            if len(missing):
                raise UserError(
                    f"missing value in column {name!r} of {origin(int(missing[0]))} ({len(missing):,} such): "
                    "fill it, or set `missing: impute` in `prepare.source`"
                )
    return pd.DataFrame(columns)
