"""Parquet files. The types of the columns are the file's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.errors import UserError
from tasks.sources.parquet_size import require_bounded

FAILURES = (pa.ArrowException, OSError, ValueError)  # a name that is not UTF-8 is a ValueError


@dataclass(frozen=True)
class Parquet:
    """Some columns of a Parquet file in memory."""

    table: pa.Table
    path: Path

    def __len__(self) -> int:
        return self.table.num_rows

    def strings(self, name: str) -> list[str | None]:
        """Values as strings; 3.0 becomes "3", as it would have been without a null beside it."""
        column = self._plain(name)
        if pa.types.is_floating(column.type):
            column = _whole(column)
        if not _is_scalar(column.type):
            raise self._unusable(name, column.type, "strings or integers are needed")
        return column.cast(pa.string()).to_pylist()

    def texts(self, name: str) -> list[str | None]:
        column = self._plain(name)
        if not _is_text(column.type):
            raise self._unusable(name, column.type, "text is needed")
        return column.to_pylist()

    def blobs(self, name: str) -> list[bytes | None]:
        """Bytes, or the bytes of a struct<bytes, path>."""
        column = self._plain(name)
        if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
            column = pc.struct_field(column, "bytes")
        if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            raise self._unusable(name, column.type, "the bytes of picture files are needed")
        return column.to_pylist()

    def feature(self, name: str, categorical: bool) -> pd.Series:
        """Numbers, or strings as a category: a column that the file holds as text is not read as numbers."""
        column = self._plain(name)
        if categorical or _is_text(column.type):
            return pd.Series(self.strings(name), dtype="category")
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        if pa.types.is_integer(column.type) and column.null_count:
            return pd.Series(pd.array(column.to_pylist(), dtype="Int64"))
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            return pd.Series(column.to_numpy())
        raise self._unusable(name, column.type, "numbers or text are needed; convert it or list it under `ignore`")

    def _plain(self, name: str) -> Any:
        column = self.table[name]
        return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column

    def _unusable(self, name: str, found: pa.DataType, needed: str) -> UserError:
        return UserError(f"column {name!r} of {self.path} has type {found}: {needed}")


def column_names(path: Path) -> list[str]:
    """Raises UserError: the file is not Parquet."""
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow.names
    except FAILURES as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from None


def read(path: Path, columns: list[str]) -> Parquet:
    try:
        require_bounded(path, columns)
        table = pq.read_table(path, columns=columns, partitioning=None)
        table.validate(full=True)  # what is wrong with it could end the process later
        return Parquet(table, path)
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: give a part of it") from None
    except FAILURES as error:
        raise UserError(f"{path} is damaged: {error}") from None


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_scalar(kind: pa.DataType) -> bool:
    return _is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers when every value is one; NaN becomes null."""
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    values = column.drop_null().to_numpy()
    fits = np.isfinite(values).all() and (values == np.floor(values)).all() and (np.abs(values) < 2**53).all()
    return column.cast(pa.int64()) if fits else column
