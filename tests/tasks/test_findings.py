"""Leaks, conflicts, outliers and unusual rates on a real scored workspace, changed so that each is there."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
from stage_runner import run_in

from tasks.artifacts import FINDINGS, read_json, read_table
from tasks.flag import run
from tasks.workspace import Workspace


def repeat(workspace: Workspace, source: str, target: str) -> None:
    """Give one example the features of another."""
    table = read_table(workspace.predictions)
    ids, features = table["example_id"].to_pylist(), table["features"].to_pylist()
    features[ids.index(target)] = features[ids.index(source)]
    place = table.schema.get_field_index("features")
    pq.write_table(
        table.set_column(place, table.schema.field("features"), pa.array(features, pa.list_(pa.float32()))),
        workspace.predictions,
    )


def findings(workspace: Workspace) -> dict[str, list[dict[str, object]]]:
    run_in(workspace.root, run)
    table = read_table(workspace.findings)
    assert table.schema.remove_metadata() == FINDINGS
    found: dict[str, list[dict[str, object]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["kind"], []).append(row)
    counted = read_json(workspace.flag_metrics)["findings"]
    assert {kind: number for kind, number in counted.items() if number} == {k: len(v) for k, v in found.items()}
    return found


def test_repeated_examples_are_told_by_split_and_by_label(copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("repeated")
    before = findings(workspace)
    labels = dict(
        zip(*(read_table(workspace.split("train"))[name].to_pylist() for name in ("example_id", "label")), strict=True)
    )
    first, second = "train-0000", next(name for name in labels if labels[name] != labels["train-0000"])
    repeat(workspace, first, second)
    repeat(workspace, "train-0012", "test-0003")
    after = findings(workspace)
    told = {(row["example_id"], row["other_id"]) for row in after["leak"]}
    assert ("test-0003", "train-0012") in told and len(after["leak"]) == len(before.get("leak", [])) + 1
    pairs = [{row["example_id"], row["other_id"]} for row in after["conflict"]]
    assert pairs.count({first, second}) == 1
    (row,) = (row for row in after["conflict"] if {row["example_id"], row["other_id"]} == {first, second})
    assert labels[first] in str(row["finding"]) and labels[second] in str(row["finding"])


def test_a_class_whose_labels_are_wrong_has_an_unusual_rate(copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("rates")
    assert "class" not in findings(workspace)
    table = read_table(workspace.split("train"))
    worst = [name.endswith("-flipped") for name in table["example_id"].to_pylist()]
    named = pa.array(["north" if chosen else "south" for chosen in worst], pa.string())
    pq.write_table(table.append_column("slice_town", named), workspace.split("train"))
    (row,) = findings(workspace)["slice"]
    assert (
        row["group"] == "town = north" and row["value"] > 0.5 and "training examples are flagged" in str(row["finding"])
    )
