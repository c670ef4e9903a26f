"""The queries of a run: the worst errors and a sample, or a sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from stage_runner import run_in

from tasks.artifacts import read_table
from tasks.dataset import load_split
from tasks.errors import UserError
from tasks.parameters import load_parameters
from tasks.precondition import run
from tasks.query_choice import choose_queries
from tasks.tensors import read_tensors
from tasks.workspace import Workspace


def test_the_queries_are_the_worst_errors_and_a_sample_of_the_others(scored: Path) -> None:
    workspace = Workspace(scored)
    parameters = load_parameters(workspace.parameters)
    validation = load_split(workspace, "validation")
    table = [row for row in read_table(workspace.predictions).to_pylist() if row["split"] == "validation"]
    wrong = sorted((row for row in table if row["label"] != row["predicted"]), key=lambda row: -row["loss"])
    worst = [row["example_id"] for row in wrong[:4]]
    assert len(worst) == 4  # the model does misread some, or this would show nothing
    chosen = [validation.ids[index] for index in choose_queries(workspace, validation, parameters.precondition, 0)]
    assert chosen[:4] == worst
    assert len(set(chosen)) == 10 and chosen[4:] == sorted(chosen[4:])
    assert json.loads(read_tensors(workspace.queries)[1]["query_ids"]) == chosen
    others = [validation.ids[index] for index in choose_queries(workspace, validation, parameters.precondition, 1)]
    assert others[:4] == worst and others[4:] != chosen[4:]


def test_asking_for_errors_of_a_model_that_makes_none(copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("copy", precondition={"queries": {"errors": 5, "sample": 0}})
    right = read_table(workspace.predictions)
    right = right.set_column(right.schema.get_field_index("predicted"), "predicted", right["label"])
    pq.write_table(right, workspace.predictions)
    with pytest.raises(UserError, match=r"the model misreads none: set `precondition\.queries\.sample` above 0"):
        run_in(workspace.root, run)


def test_predictions_of_other_data_are_refused(
    copy_scored: Callable[..., Workspace], make_prepared: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = copy_scored("copy")
    other = make_prepared(tmp_path / "other", kind="table", held_out=50, classes=4)
    workspace.split("validation").write_bytes(other.split("validation").read_bytes())
    with pytest.raises(UserError, match=r"predictions\.parquet is not of the validation split .*: rerun train"):
        run_in(workspace.root, run)
