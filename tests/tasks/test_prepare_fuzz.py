"""prepare fed with hostile tables: NaN, infinity, nulls, mixed types, strange names and ids.

It writes data that fit together, or says one sentence.
"""

import csv
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "sources"))  # for `hostile`
from hostile import fuzzed, outcome

from tasks.artifacts import read_table
from tasks.dataset import load_split
from tasks.parameters import Parameters
from tasks.prepare import run
from tasks.workspace import SPLITS, Workspace

STRANGE = [
    "",
    " ",
    "NA",
    "nan",
    "\0",
    "a\0b",
    "../../x",
    "<b>",
    "\u202e",
    "\x1b[2J",
    "'; drop",
    "1e999",
    "-inf",
    "∞",
    "{{1}}",
]
texts = st.one_of(st.sampled_from(STRANGE), st.text(st.characters(codec="utf-8"), max_size=8))
numbers = st.one_of(
    st.floats(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([math.nan, math.inf, 1e308, -0.0, 5e-324])
)
CELLS: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "float64": (st.floats() | st.none(), pa.float64()),
    "float32": (st.floats(width=32) | st.none(), pa.float32()),
    "int64": (st.integers(-(2**63), 2**63 - 1) | st.none(), pa.int64()),
    "uint64": (st.integers(0, 2**64 - 1), pa.uint64()),
    "bool": (st.booleans() | st.none(), pa.bool_()),
    "string": (texts | st.none(), pa.string()),
    "large": (texts, pa.large_string()),
    "category": (texts, pa.dictionary(pa.int32(), pa.string())),
    "binary": (st.binary(max_size=8), pa.binary()),
    "day": (st.dates() | st.none(), pa.date32()),
    "moment": (st.integers(-(2**62), 2**62), pa.timestamp("ns")),
    "list": (st.lists(st.integers(0, 9), max_size=2), pa.list_(pa.int64())),
    "decimal": (st.decimals(-99, 99, places=2), pa.decimal128(9, 2)),
    "null": (st.none(), pa.null()),
}
USABLE = [*CELLS][:8]  # as features; the others are to be refused
SOUND = st.permutations(["x", "y"] * 15)
LABELS = st.integers(0, 9).flatmap(lambda chance: SOUND if chance < 8 else st.lists(texts, max_size=30))


@st.composite
def parquet_tables(draw: st.DrawFn) -> tuple[pa.Table, dict[str, Any]]:
    """A table and the section `prepare.source`: labels that are sound or not, and features of any type."""
    labels = draw(LABELS)
    columns: dict[str, pa.Array] = {}
    for name in draw(st.lists(texts, min_size=1, max_size=3, unique=True)):
        cells, kind = CELLS[draw(st.sampled_from(USABLE * 3 + [*CELLS]))]
        columns[name] = pa.array(draw(st.lists(cells, min_size=len(labels), max_size=len(labels))), kind)
    columns["the label"] = pa.array(labels, pa.string())
    source = {"kind": "parquet", "label": "the label", **draw(sources(list(columns)[:-1]))}
    return pa.table(columns), source


@st.composite
def sources(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    some = st.sampled_from([*[None] * 12, *names])
    chosen = {"id": draw(some), "text": draw(some), "missing": draw(st.sampled_from(["impute", "impute", "error"]))}
    lists = {key: list(filter(None, [draw(some)])) for key in ("slices", "categorical", "ignore")}
    return {key: value for key, value in {**chosen, **lists}.items() if value}


def check(root: Path, path: Path, source: dict[str, Any], corruption: str) -> bool:
    """Whether it was written, and not refused."""
    workspace = Workspace(root)
    prepare = {"path": str(path), "source": source, "corruption": {"kind": corruption, "share": 0.1}}
    parameters = Parameters.model_validate({"prepare": {**prepare, "validation": 0.2, "test": 0.2}})
    if outcome(lambda: run(workspace, parameters)) is None:
        return False
    ids: list[str] = []
    for split in SPLITS:
        loaded = load_split(workspace, split)
        ids += read_table(workspace.split(split))["example_id"].to_pylist()
        assert len(loaded.ids) == len(loaded)
    assert len(set(ids)) == len(ids) > 0
    return True


@given(table=parquet_tables(), corruption=st.sampled_from(["uniform", "pair", "feature"]))
@fuzzed(60)
def test_parquet(tmp_path: Path, table: tuple[pa.Table, dict[str, Any]], corruption: str) -> None:
    pq.write_table(table[0], tmp_path / "a.parquet")
    event(f"written: {check(tmp_path, tmp_path / 'a.parquet', table[1], corruption)}")


@given(data=st.data(), header=st.lists(texts, min_size=1, max_size=3, unique=True), labels=LABELS)
@fuzzed(60)
def test_csv(tmp_path: Path, data: st.DataObject, header: list[str], labels: list[str]) -> None:
    """Cells of every kind in one column."""
    cells = st.lists(texts | numbers.map(str), min_size=len(header), max_size=len(header))
    rows = data.draw(st.lists(cells, min_size=len(labels), max_size=len(labels)))
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "the label"])
        writer.writerows([*row, label] for row, label in zip(rows, labels, strict=True))
    source = {"kind": "csv", "label": "the label", **data.draw(sources(header))}
    corruption = data.draw(st.sampled_from(["uniform", "feature"]))
    event(f"written: {check(tmp_path, tmp_path / 'a.csv', source, corruption)}")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308])
@pytest.mark.parametrize("missing", ["error", "impute"])
def test_a_number_that_is_none(tmp_path: Path, value: float, missing: str) -> None:
    numbers = np.arange(40.0)
    numbers[3] = value
    table = pa.table({"a": numbers, "b": np.arange(40.0) % 7, "y": ["x", "y"] * 20})
    pq.write_table(table, tmp_path / "a.parquet")
    check(tmp_path, tmp_path / "a.parquet", {"kind": "parquet", "label": "y", "missing": missing}, "feature")
