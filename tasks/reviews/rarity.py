"""Which values of a row are unusual in the training set, so that a reviewer looks there first."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from tasks.reporting.exhibits import as_object
from tasks.reporting.formatting import percent
from tasks.workspace import Workspace

UNUSUAL = 0.025  # share of the training set at either end, or as rare as this
ROWS = 50_000  # of the training set, evenly spread, that the shares are counted on


@dataclass(frozen=True)
class Columns:
    """What values the columns of a table take.

    Attributes:
        numbers: by column, its numbers in rising order.
        others: by column, how often every value that is no number occurs.
    """

    numbers: dict[str, list[float]]
    others: dict[str, Counter[str]]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, object]]) -> "Columns":
        numbers: dict[str, list[float]] = defaultdict(list)
        others: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            for name, value in row.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    numbers[name].append(value)
                else:
                    others[name][repr(value)] += 1
        return cls({name: sorted(values) for name, values in numbers.items()}, dict(others))

    def remarks(self, row: Mapping[str, object]) -> dict[str, str]:
        """By column, in words: which values are higher, lower or rarer than nearly all of the training set."""
        found = ((name, self._remark(name, value)) for name, value in row.items())
        return {name: remark for name, remark in found if remark}

    def _remark(self, name: str, value: object) -> str:
        numbers, others = self.numbers.get(name, []), self.others.get(name, Counter())
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _extreme(numbers, value) if numbers else ""
        own, total = others[repr(value)], len(numbers) + others.total()
        # Where every value is rare, as in a column of names, none is unusual.
        as_rare = sum(count for count in others.values() if count <= own)
        return f"in {percent(own / total, 1)} of the training set" if as_rare < UNUSUAL * total else ""


def _extreme(numbers: Sequence[float], value: float) -> str:
    lower = bisect_left(numbers, value)
    higher = len(numbers) - bisect_right(numbers, value)
    place = (lower + len(numbers) - higher) / (2 * len(numbers))  # equal ones stand half below it
    if place > 1 - UNUSUAL:
        return f"higher than {percent(lower / len(numbers), 1)} of the training set"
    if place < UNUSUAL:
        return f"lower than {percent(higher / len(numbers), 1)} of the training set"
    return ""


def load_columns(workspace: Workspace) -> Columns:
    """Count the training set of a table; of other kinds nothing is found."""
    file = pq.ParquetFile(workspace.split("train"))
    every = max(1, file.metadata.num_rows // ROWS)
    seen = 0
    rows = []
    for batch in file.iter_batches(columns=["display"]):
        chosen = range(-seen % every, len(batch), every)
        rows += [as_object(display) for display in batch["display"].take(list(chosen)).to_pylist() if display]
        seen += len(batch)
    return Columns.of(row for row in rows if row is not None)
