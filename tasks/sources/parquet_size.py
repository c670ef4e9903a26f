"""How large a Parquet file becomes in memory, found out before it is there.

A value that repeats is stored once: a file of a kilobyte may hold a million rows of a megabyte each.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.errors import UserError
from tasks.sources.expanding import FREE, MOST, most_expanded

FREE_ROWS = 10**6  # that a file of any size may have
MOST_ROWS = 64  # rows for each byte of a larger file: equal ones take next to none


def require_bounded(path: Path, columns: Iterable[str]) -> None:
    """Raises UserError: these columns would take more memory than those of a sound file of this size."""
    limit, wanted = most_expanded(path), set(columns)
    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows
        if rows > max(FREE_ROWS, MOST_ROWS * path.stat().st_size):
            raise UserError(
                f"{path} promises {rows:,} rows, more than a sound file of its size can hold: write it anew"
            )
        chunks = [
            file.metadata.row_group(group).column(column)
            for group in range(file.metadata.num_row_groups)
            for column in range(file.metadata.num_columns)
        ]
        expanded, largest = 0, Counter[tuple[str, str]]()
        for chunk in chunks:
            leaf = chunk.path_in_schema
            name = next((name for name in wanted if leaf == name or leaf.startswith(f"{name}.")), None)
            if name is None:
                continue
            expanded += chunk.total_uncompressed_size
            if any("DICTIONARY" in encoding for encoding in chunk.encodings):  # no value is larger than its chunk
                largest[name, leaf] += chunk.num_values * chunk.total_uncompressed_size
        for (name, leaf), most in largest.items():
            if expanded <= limit < most:
                expanded += _expanded(path, name, leaf)
    if expanded > limit:
        raise UserError(
            f"{path} becomes {expanded / 2**20:,.0f} MiB in memory, more than {MOST} times its size and than "
            f"{FREE // 2**20} MiB, as decompression bombs do: if it is sound, store it with use_dictionary=False"
        )


def _expanded(path: Path, name: str, leaf: str) -> int:
    """Bytes of a column of strings or bytes, or of one field of a column, each value read once.

    Args:
        path: the file.
        name: the column.
        leaf: the column, or its field, such as `image.bytes`.
    """
    total, fields = 0, leaf.removeprefix(name).split(".")[1:]
    with pq.ParquetFile(path, read_dictionary=[leaf]) as file:
        for group in range(file.num_row_groups):
            column = file.read_row_group(group, columns=[leaf]).column(0)
            for field in fields:
                if not pa.types.is_struct(column.type):
                    return total  # a list: no source takes one
                column = pc.struct_field(column, field)
            for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
                lengths = pc.binary_length(chunk.dictionary).cast(pa.int64())
                total += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
    return total
