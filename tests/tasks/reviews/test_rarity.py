"""What is unusual about a row."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.reviews import rarity
from tasks.reviews.rarity import Columns, load_columns
from tasks.workspace import Workspace

ROWS = [{"age": age, "sex": "f" if age % 2 else "m", "name": f"person {age}", "rare": age == 7} for age in range(200)]


@pytest.mark.parametrize(
    "row, remarks",
    [
        ({"age": 100, "sex": "f", "name": "person 3", "rare": False}, {}),
        ({"age": 199}, {"age": "higher than 99.5\u202f% of the training set"}),
        ({"age": 500.5}, {"age": "higher than 100.0\u202f% of the training set"}),
        ({"age": 0}, {"age": "lower than 99.5\u202f% of the training set"}),
        ({"age": -1}, {"age": "lower than 100.0\u202f% of the training set"}),
        ({"rare": True}, {"rare": "in 0.5\u202f% of the training set"}),
        ({"age": None}, {"age": "in 0.0\u202f% of the training set"}),  # missing only here
        ({"sex": "x"}, {"sex": "in 0.0\u202f% of the training set"}),
        ({"unknown": 3, "other": "x"}, {}),
    ],
)
def test_remarks(row: dict[str, object], remarks: dict[str, str]) -> None:
    assert Columns.of(ROWS).remarks(row) == remarks


def test_where_every_value_is_rare_none_is_unusual() -> None:
    assert Columns.of(ROWS).remarks({"name": "person 199"}) == {}


def test_a_long_table_is_counted_on_evenly_spread_rows(
    make_prepared: Callable[..., Workspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_prepared(tmp_path, kind="table", count=120)
    everything = load_columns(workspace).numbers["x0"]
    monkeypatch.setattr(rarity, "ROWS", 40)
    some = load_columns(workspace).numbers["x0"]
    assert len(everything) == 120 and len(some) == 40 and set(some) < set(everything)
