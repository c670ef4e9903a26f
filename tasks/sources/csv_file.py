"""CSV files. Every field stays the text that it is; what it means is decided where it is used."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tasks.errors import UserError
from tasks.parameters import TableSource
from tasks.sources.expanding import DAMAGED, opened

MOST_COLUMNS = 20_000  # pandas takes minutes for ten times as many
LONGEST_LINE = 2**26  # bytes of the first line that are looked at
MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "<NA>", "#N/A"})


@dataclass(frozen=True)
class Csv:
    """A CSV file in memory, all of it text."""

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    def strings(self, name: str) -> list[str | None]:
        return [None if value in MISSING else value for value in self.frame[name].tolist()]

    def texts(self, name: str) -> list[str | None]:
        return self.frame[name].tolist()

    def blobs(self, name: str) -> list[bytes | None]:
        raise UserError(f"column {name!r}: images cannot lie in a CSV file; use `kind: image_folder` or a Parquet file")

    def feature(self, name: str, categorical: bool) -> pd.Series:
        """Text with missing values marked, for the encoder to read as numbers or as categories."""
        column = self.frame[name]
        column = column.mask(column.isin(list(MISSING)))
        return column.astype("category") if categorical else column


def column_names(source: TableSource, path: Path) -> list[str]:
    """The names in the first row, or those that `columns` gives."""
    first = _parse(path, rows=1)
    if source.columns is None:
        return first.iloc[0].tolist()
    if len(source.columns) != first.shape[1]:
        raise UserError(
            f"{path} has {first.shape[1]} columns but `prepare.source.columns` names {len(source.columns)}: "
            "name each once"
        )
    return source.columns


def read(source: TableSource, path: Path, rows: int | None = None) -> Csv:
    """The first rows of a file, or all, compressed or not, as its name says.

    Raises:
        UserError: the file is not CSV, or not UTF-8.
    """
    frame = _parse(path, None if rows is None else rows + (source.columns is None))
    names = source.columns
    if names is None:
        names, frame = frame.iloc[0].tolist(), frame.iloc[1:].reset_index(drop=True)
    return Csv(frame.set_axis(names, axis=1))


def _parse(path: Path, rows: int | None = None) -> pd.DataFrame:
    # The header is read as a row like the others: pandas would rename the columns that occur twice.
    try:
        _require_few_columns(path)
        with warnings.catch_warnings(), opened(path) as file:
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(file, header=None, dtype=str, na_filter=False, skipinitialspace=True, nrows=rows)
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty: `prepare.path` must name a file with data") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise UserError(f"{path} is not a sound CSV file: {reason}; correct that line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: give a part of it, or use Parquet") from None
    except (*DAMAGED, ValueError, RuntimeError) as error:  # an encrypted archive is a RuntimeError
        raise UserError(f"{path} cannot be read: {error}") from None


def _require_few_columns(path: Path) -> None:
    with opened(path) as file:
        columns = file.readline(LONGEST_LINE).count(b",") + 1
    if columns > MOST_COLUMNS:
        raise UserError(f"{path} has {columns:,} columns, but {MOST_COLUMNS:,} at most can be read: leave some out")
