"""A synthetic table of any length, written in row groups: no more than one of them is ever in memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import atomic_write

NUMBERS = 24
CATEGORIES = {"region": 8, "channel": 5}
CLASSES = 4
GROUP = 65_536  # rows
HIDDEN = 16  # units of the network that decides the labels
CONTRAST = 3.0  # of its logits: about a tenth of the labels are not the likeliest ones


def write_table(path: Path, rows: int, seed: int) -> None:
    """Write a table whose label a small random network decides, with chance, from numbers and categories.

    Columns: `id`, `label`, the categories, and the numbers `x00`, `x01`, and so on. Which labels are wrong is left to
    `prepare.corruption`, so that the report knows them.
    """
    teacher = np.random.default_rng([seed, 0])
    width = NUMBERS + sum(CATEGORIES.values())
    first = teacher.normal(size=(width, HIDDEN)) / np.sqrt(width)
    second = CONTRAST * teacher.normal(size=(HIDDEN, CLASSES))

    def write(temporary: Path) -> None:
        writer = None
        for group, start in enumerate(range(0, rows, GROUP)):
            count = min(GROUP, rows - start)
            table = _group(np.random.default_rng([seed, 1, group]), start, count, first, second)
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
        assert writer is not None
        writer.close()

    atomic_write(path, write)


def _group(rng: np.random.Generator, start: int, count: int, first: np.ndarray, second: np.ndarray) -> pa.Table:
    numbers = rng.normal(size=(count, NUMBERS)).astype(np.float32)
    codes = {name: rng.integers(size, size=count) for name, size in CATEGORIES.items()}
    known = np.concatenate([numbers, *(np.eye(size)[codes[name]] for name, size in CATEGORIES.items())], axis=1)
    logits = np.tanh(2.0 * known @ first) @ second
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # a draw from their softmax
    return pa.table(
        {
            "id": [f"r{row:09d}" for row in range(start, start + count)],
            "label": [f"class {label}" for label in labels],
            **{name: [f"{name} {code}" for code in values] for name, values in codes.items()},
            **{f"x{index:02d}": numbers[:, index] for index in range(NUMBERS)},
        }
    )
