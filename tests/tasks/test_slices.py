"""Errors and influence by slice, against counting by hand and against dense linear algebra."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dense_system import dense_system

from tasks.artifacts import FLAGS, PREDICTIONS, SCORES, prepared_schema, read_json, read_table, write_table
from tasks.errors import UserError
from tasks.grouping import MOST
from tasks.intervals import wilson_interval
from tasks.parameters import load_parameters
from tasks.reporting.slicing import Slices
from tasks.slices import slices
from tasks.workspace import SPLITS, HeldOut, Workspace

Copy = Callable[..., Workspace]


def cut(workspace: Workspace, column: str = "label", split: HeldOut = "validation") -> Slices:
    return slices(workspace, load_parameters(workspace.parameters), column, split)


def with_column(workspace: Workspace, name: str, value: Callable[[int], str | None]) -> Workspace:
    """Add a slice column to every split: the value of each position."""
    for split in SPLITS:
        table = read_table(workspace.split(split))
        values = pa.array([value(row) for row in range(len(table))], pa.string())
        table = table.append_column(f"slice_{name}", values)
        write_table(workspace.split(split), table, prepared_schema(table["input"].type, [name]))
    return workspace


def test_errors_and_losses_are_those_of_the_predictions(copy_scored: Copy) -> None:
    workspace = copy_scored("copy")
    train = read_table(workspace.split("train"))
    rows = [
        {"example_id": i, "given_label": "a", "suggested_label": "b", "reason": "", "rank": 1}
        for i in ("none", "at all")
    ] + [{"example_id": i.as_py(), "given_label": "a"} for i in train["example_id"][:30]]
    empty = {field.name: 0.0 for field in FLAGS if pa.types.is_floating(field.type)}
    write_table(workspace.flags, pa.Table.from_pylist([{**empty, **row} for row in rows], FLAGS), FLAGS)
    found = cut(workspace)
    predictions = read_table(workspace.predictions).to_pylist()
    first = [row["example_id"] for row in train.to_pylist()[:30]]
    assert sorted(one.value for one in found.slices) == [f"class {index}" for index in range(4)]
    for one in found.slices:
        for part, split in ((one.train, "train"), (one.evaluated, "validation")):
            mine = [row for row in predictions if (row["split"], row["label"]) == (split, one.value)]
            wrong = sum(row["predicted"] != row["label"] for row in mine)
            assert part is not None and (part.examples, part.errors) == (len(mine), wrong)
            assert (part.low, part.high) == wilson_interval(wrong, len(mine))
            assert part.mean_loss == pytest.approx(np.mean([row["loss"] for row in mine]), rel=1e-6)
        assert one.flagged == sum(
            row["example_id"] in first for row in predictions if (row["split"], row["label"]) == ("train", one.value)
        )


def test_influence_is_that_of_dense_linear_algebra(copy_scored: Copy) -> None:
    workspace = with_column(copy_scored("copy"), "region", lambda row: ("north", "south", None)[min(row % 4, 2)])
    found = cut(workspace, "region")
    assert [one.value for one in found.slices] == ["(missing)", "north", "south"]
    assert found.residual <= 1.1e-4
    assert found.damping == pytest.approx(read_json(workspace.curvature_report)["damping"])
    system = dense_system(workspace, load_parameters(workspace.parameters))
    code = {"north": 0, "south": 1, "(missing)": 2}
    train, evaluated = (np.minimum(np.arange(size) % 4, 2) for size in (len(system.shares), len(system.queries)))
    largest = max(abs(one.total) for one in found.influences)
    assert len(found.influences) == 9
    for one in found.influences:
        out, of = (code[found.slices[place].value] for place in (one.left_out, one.evaluated))
        exact = system.pairwise(system.queries[evaluated == of].mean(dim=0, keepdim=True))[0][train == out]
        assert one.total == pytest.approx(float(exact.sum()), abs=1e-3 * largest)
        assert one.per_example == pytest.approx(one.total / int((train == out).sum()))


def test_a_feature_can_be_sliced_by(copy_scored: Copy) -> None:
    workspace = copy_scored("copy")
    found = cut(workspace, "x0")
    values = np.array([json.loads(row)["x0"] for row in read_table(workspace.split("train"))["display"].to_pylist()])
    edges = np.quantile(values, (0.25, 0.5, 0.75))
    sizes = np.bincount(np.searchsorted(edges, values, side="right"))
    assert [one.train.examples for one in found.slices if one.train] == sizes.tolist()
    assert len(found.influences) == 16


def test_what_is_written_is_what_was_found(copy_scored: Copy) -> None:
    workspace = copy_scored("copy")
    found = cut(workspace, "predicted")
    rows = read_table(workspace.slices).to_pylist()
    assert {row["column"] for row in rows} == {"predicted"} and {row["split"] for row in rows} == {
        "train",
        "validation",
    }
    for row in rows:
        (one,) = [one for one in found.slices if one.value == row["value"]]
        part = one.train if row["split"] == "train" else one.evaluated
        assert part is not None and row["error_rate"] == part.error_rate and row["error_rate_high"] == part.high
    table = read_table(workspace.slice_influence)
    assert len(table) == len(found.influences)
    assert table["influence"].to_pylist() == [one.total for one in found.influences]
    meaning = json.loads(table.schema.metadata[SCORES])
    assert meaning["unit"] == "nats" and meaning["sign"].startswith("positive: helpful")


def test_the_same_class_helps_and_the_strongest_are_told(copy_scored: Copy) -> None:
    found = cut(copy_scored("copy"))
    for place in range(4):
        helpful, harmful = found.strongest(place, 1), found.strongest(place, -1)
        assert helpful is not None and helpful.left_out == place
        of_slice = [one.per_example for one in found.influences if one.evaluated == place]
        assert harmful is not None and harmful.per_example == min(of_slice) < 0
        assert found.between(harmful.left_out, place) == harmful


def test_rare_values_are_one_slice_together_and_a_split_may_lack_a_slice(copy_scored: Copy) -> None:
    workspace = with_column(copy_scored("copy"), "town", lambda row: f"town {row if row > 100 else row % 3}")
    found = cut(workspace, "town")
    assert [one.value for one in found.slices[:3]] == ["town 0", "town 1", "town 2"]
    assert found.slices[-1].value == "(40 other values)" and len(found.slices) == MOST + 1
    assert found.slices[4].evaluated is None and found.slices[4].train is not None
    assert {one.evaluated for one in found.influences} == {0, 1, 2}
    assert sum(one.train.examples for one in found.slices if one.train) == 150


def test_bad_input_is_one_sentence(copy_scored: Copy, make_prepared: Callable[..., Workspace], tmp_path: Path) -> None:
    workspace = with_column(copy_scored("copy"), "same", lambda row: "all")
    with pytest.raises(UserError, match=r"no column 'age' to slice by: take one of label, predicted, same, x0, .*, or"):
        cut(workspace, "age")
    with pytest.raises(UserError, match=r"all training examples have the same 'same', 'all': there is nothing"):
        cut(workspace, "same")
    empty = copy_scored("empty")
    table = read_table(empty.split("test")).slice(0, 0)
    write_table(empty.split("test"), table, prepared_schema(table["input"].type))
    predictions = read_table(empty.predictions)
    write_table(empty.predictions, predictions.filter(pc.not_equal(predictions["split"], "test")), PREDICTIONS)
    with pytest.raises(UserError, match=r"test\.parquet holds no examples to evaluate: choose another with --split"):
        cut(empty, split="test")
    anew = make_prepared(tmp_path / "anew", kind="table", count=151, held_out=60, classes=4)
    workspace.split("train").write_bytes(anew.split("train").read_bytes())
    with pytest.raises(UserError, match=r"is not of the examples in .*prepared: rerun train and precondition"):
        cut(workspace)
