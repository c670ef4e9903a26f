"""CSV files. Every field stays the text that it is; what it means is decided where it is used."""

import warnings
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from tasks.errors import UserError
from tasks.parameters import TableSource

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


def read(source: TableSource, path: Path) -> Csv:
    """All rows of a file, compressed or not, as its name says.

    Raises:
        UserError: the file is not CSV, or not UTF-8.
    """
    frame = _parse(path)
    names = source.columns
    if names is None:
        names, frame = frame.iloc[0].tolist(), frame.iloc[1:].reset_index(drop=True)
    return Csv(frame.set_axis(names, axis=1))


def _parse(path: Path, rows: int | None = None) -> pd.DataFrame:
    # The header is read as a row like the others: pandas would rename the columns that occur twice.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, header=None, dtype=str, na_filter=False, skipinitialspace=True, nrows=rows)
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty: `prepare.path` must name a file with data") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise UserError(f"{path} is not a sound CSV file: {reason}; correct that line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from None
    except (OSError, EOFError, zlib.error, LZMAError, BadZipFile, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
