"""Slices by label, by slice column and by feature."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.artifacts import prepared_schema, read_json, read_table, write_json, write_table
from tasks.errors import UserError
from tasks.grouping import MISSING, MOST, Grouping, by_amount, by_name, group
from tasks.workspace import SplitName, Workspace

SPLITS: tuple[SplitName, ...] = ("train", "test")


def grouped(workspace: Workspace, column: str) -> Grouping:
    return group(workspace, column, {name: read_table(workspace.split(name), ["label"]) for name in SPLITS})


def named(found: Grouping) -> list[list[str]]:
    return [[found.names[code] for code in codes] for codes in found.codes]


@pytest.fixture
def people(make_prepared: Callable[..., Workspace], tmp_path: Path) -> Workspace:
    """A table with the features age, code and job, and a slice column town."""
    workspace = make_prepared(tmp_path, kind="table", count=40, held_out=20)
    kinds = {"age": "numeric", "code": "categorical", "job": "categorical"}
    columns = [{"name": name, "kind": kind} for name, kind in kinds.items()]
    write_json(workspace.encoding, {**read_json(workspace.encoding), "details": {"columns": columns}})
    for name in SPLITS:
        table = read_table(workspace.split(name))
        rows: list[dict[str, Any]] = [
            {"age": row if row % 10 else None, "code": (3, 3.0, "3", 4)[row % 4], "job": ("cook", None)[row % 2]}
            for row in range(len(table))
        ]
        table = table.set_column(2, "display", pa.array([json.dumps(row) for row in rows]))
        table = table.append_column("slice_town", pa.array([("A", "", None)[row % 3] for row in range(len(table))]))
        write_table(workspace.split(name), table, prepared_schema(table["input"].type, ["town"]))
    return workspace


def test_labels_are_slices(people: Workspace) -> None:
    labels = [read_table(people.split(name))["label"].to_pylist() for name in SPLITS]
    assert named(grouped(people, "label")) == labels


def test_a_value_that_is_missing_is_a_slice(people: Workspace) -> None:
    assert named(grouped(people, "town"))[1][:3] == ["A", MISSING, MISSING]
    assert named(grouped(people, "job"))[1][:2] == ["cook", MISSING]


def test_categories_are_those_of_the_encoding(people: Workspace) -> None:
    assert named(grouped(people, "code"))[0][:4] == ["3", "3", "3", "4"]


def test_amounts_are_cut_at_the_quartiles_of_training(people: Workspace) -> None:
    found = grouped(people, "age")
    ages = np.array([age for age in range(40) if age % 10])
    low, middle, high = (f"{edge:g}" for edge in np.quantile(ages, (0.25, 0.5, 0.75)))
    assert found.names == [
        f"below {low}", f"{low} to below {middle}", f"{middle} to below {high}", f"{high} and above", MISSING
    ]  # fmt: skip
    assert np.bincount(found.codes[0]).tolist() == [9, 9, 9, 9, 4]
    assert named(found)[1][:2] == [MISSING, f"below {low}"]


def test_an_unknown_column_is_named_with_those_there_are(people: Workspace) -> None:
    with pytest.raises(
        UserError, match="no column 'sex' to slice by: take one of label, predicted, town, age, code, job, or name"
    ):
        grouped(people, "sex")


def test_rare_values_are_one_slice_together() -> None:
    values = [f"{value:02}" for value in range(MOST + 5) for _ in range(40 - value)]
    found = by_name([values, ["00", "16"]])
    assert found.names == [*(f"{value:02}" for value in range(MOST)), "(5 other values)"]
    assert found.codes[1].tolist() == [0, MOST]
    assert by_name([[value for value in values if value <= "12"]]).names[-1] == "12"  # one alone keeps its name


def test_few_amounts_are_slices_each_in_their_order() -> None:
    found = by_amount([np.array([2.0, 10.0, 2.0, 0.5]), np.array([10.0, 0.5])])
    assert (found.names, found.codes[0].tolist(), found.codes[1].tolist()) == (["0.5", "2", "10"], [1, 2, 1, 0], [2, 0])


def test_quarters_that_fall_together_are_one() -> None:
    """Most people have no capital gain."""
    values = np.concatenate([np.zeros(60), np.arange(1.0, 41.0)])
    found = by_amount([values])
    assert found.names == ["below 15.25", "15.25 and above"]
    assert np.bincount(found.codes[0]).tolist() == [75, 25]
    assert by_amount([np.append(np.zeros(90), np.arange(20.0))]).names == ["below 1", "1 and above"]
