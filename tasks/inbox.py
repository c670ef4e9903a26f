"""The inbox: a file in which people and programs name the examples that they want explained."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from tasks.errors import UserError

COLUMN = "example_id"


def read_inbox(path: Path) -> list[str]:
    """The ids in the inbox, each once, in order; none where there is no file. Nothing is written to it.

    Args:
        path: a CSV file with a header, or Parquet (`.parquet`), with a column `example_id`.

    Raises:
        UserError: the file is of neither kind, or has no such column.
    """
    if not path.exists():
        return []
    try:
        if path.suffix == ".parquet":
            column = pq.read_table(path, columns=[COLUMN])[COLUMN].cast(pa.string())
        else:
            options = pyarrow.csv.ConvertOptions(include_columns=[COLUMN], column_types={COLUMN: pa.string()})
            column = pyarrow.csv.read_csv(path, convert_options=options)[COLUMN]
    except (pa.ArrowException, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} must have a column `{COLUMN}`, as CSV with a header or as Parquet: {reason}") from None
    return list(dict.fromkeys(filter(None, column.to_pylist())))
