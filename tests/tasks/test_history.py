from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks import history
from tasks.artifacts import APPLIED, HISTORY, write_table
from tasks.errors import UserError
from tasks.reviews import queue, store
from tasks.run_identity import run_identity
from tasks.workspace import Workspace

MakeWorkspace = Callable[..., Workspace]
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def workspace(make_workspace: MakeWorkspace) -> Workspace:
    return make_workspace(train=120, held_out=30, planted=10, flagged=12, slices={"site": ["north", "south", None]})


def drop_last_flag(workspace: Workspace) -> None:
    """Make it another run."""
    flags = pq.read_table(workspace.flags)
    pq.write_table(flags.slice(0, len(flags) - 1), workspace.flags)


def test_a_run_is_written_down_with_its_examples(workspace: Workspace) -> None:
    run = history.record(workspace, START)
    assert history.runs(workspace) == [run] and (run.identity, run.time) == (run_identity(workspace), START)
    examples = history.read_examples(workspace, run.identity)
    assert examples.schema == HISTORY
    assert examples.group_by("split").aggregate([("example_id", "count")]).to_pydict() == {
        "split": ["train", "test"],
        "example_id_count": [120, 30],
    }
    flags = pq.read_table(workspace.flags)
    flagged = examples.filter(examples["flagged"])
    assert set(flagged["example_id"].to_pylist()) == set(flags["example_id"].to_pylist())
    assert flagged["suggested_label"].null_count == 0 and not pc.any(examples["judged"]).as_py()
    assert pc.mean(examples["correct"]).as_py() == pytest.approx(run.accuracy["test"])


def test_rates_add_up_by_class_and_by_slice(workspace: Workspace) -> None:
    run = history.record(workspace, START)
    probability = pq.read_table(workspace.signals)["error_probability"].to_numpy()
    for column in (None, "site"):
        groups = [group for group in run.groups if group.column == column]
        assert sum(group.examples for group in groups) == 120 and sum(group.flagged for group in groups) == 12
        assert sum(group.expected_errors for group in groups) == pytest.approx(probability.sum())
    assert [group.value for group in groups] == ["missing", "north", "south"]
    assert groups[0].rate == groups[0].expected_errors / 40


def test_what_a_review_settled_is_no_longer_expected_to_be_wrong(workspace: Workspace) -> None:
    before = history.record(workspace, START)
    first = queue.build(workspace)[0]
    store.append(workspace, [queue.verdict_on(first, "keep", "ann")])
    row = {"example_id": first.example_id, "split": "train", "verdict": "keep", "outcome": "applied"}
    write_table(workspace.applied_verdicts, pa.Table.from_pylist([row], APPLIED), APPLIED)
    after = history.record(workspace, START)
    examples = history.read_examples(workspace, after.identity)
    assert examples.filter(examples["judged"])["example_id"].to_pylist() == [first.example_id]
    fall = [sum(group.expected_errors for group in run.groups if group.column is None) for run in (before, after)]
    assert fall[0] - fall[1] == pytest.approx(first.error_probability)
    assert (before.verdicts, after.verdicts) == ({}, {"keep": 1})


def test_to_mend_a_label_is_no_change_of_what_came(workspace: Workspace) -> None:
    before, first = history.record(workspace, START), queue.build(workspace)[0]
    table = pq.read_table(workspace.split("train"))
    place = table["example_id"].to_pylist().index(first.example_id)
    labels = table["label"].to_pylist()
    labels[place] = first.suggested_label
    position = table.schema.get_field_index("label")
    pq.write_table(table.set_column(position, table.schema.field("label"), [labels]), workspace.split("train"))
    row = {"example_id": first.example_id, "split": "train", "verdict": "relabel", "outcome": "applied"}
    write_table(workspace.applied_verdicts, pa.Table.from_pylist([row], APPLIED), APPLIED)
    groups = [[group for group in run.groups if group.column is None] for run in (before, history.record(workspace))]
    for old, new in zip(*groups, strict=True):
        one = int(new.value == first.given_label)
        assert (new.key, new.examples, new.found_wrong) == (old.key, old.examples, one)
        rise = one * (1 - (first.error_probability or 0.0)) / new.examples
        assert new.rate - old.rate == pytest.approx(rise, abs=1e-9)


def test_to_write_it_down_again_changes_nothing(workspace: Workspace) -> None:
    run = history.record(workspace, START)
    path = workspace.history / f"{run.identity}.parquet"
    content = path.read_bytes()
    assert history.record(workspace, START + timedelta(days=3)) == run
    assert path.read_bytes() == content


def test_runs_come_oldest_first_and_the_oldest_are_forgotten(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT", 2)
    recorded = []
    for day in range(3):
        recorded.append(history.record(workspace, START + timedelta(days=day)))
        drop_last_flag(workspace)
    assert history.runs(workspace) == recorded[1:]
    assert len(list(workspace.history.iterdir())) == 2


def test_nothing_was_seen_yet(workspace: Workspace) -> None:
    assert history.runs(workspace) == []


def test_a_foreign_or_damaged_file_is_named(workspace: Workspace) -> None:
    history.record(workspace, START)
    (workspace.history / "notes.txt").write_text("mine")
    assert len(history.runs(workspace)) == 1
    for content in (b"no parquet", None):
        damaged = workspace.history / f"{'a' * 16}.parquet"
        if content is None:
            pq.write_table(pa.table({"x": np.arange(3)}), damaged)
        else:
            damaged.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.parquet is no record of a run .*: delete it"):
            history.runs(workspace)
