"""The queue over a real flagged workspace."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.artifacts import FINDINGS, read_table, write_table
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.content import contents
from tasks.reviews.queue import Item, build, open_to, verdict_on, with_verdicts
from tasks.run_identity import run_identity
from tasks.workspace import Workspace


@pytest.fixture
def first(flagged: Workspace) -> Item:
    return build(flagged)[0]


def states(item: Item, *given: object) -> str:
    return with_verdicts([item], given)[0].state  # type: ignore[arg-type]


def test_flags_come_by_rank_and_then_the_findings_about_one_example(flagged: Workspace) -> None:
    flags = read_table(flagged.flags).to_pylist()
    train = read_table(flagged.split("train"))
    held_out = read_table(flagged.split("test"))["example_id"][0].as_py()
    taken = flags[0]["example_id"]
    others = [name for name in train["example_id"].to_pylist() if name not in {row["example_id"] for row in flags}]
    found = [
        {"kind": "leak", "example_id": held_out, "other_id": taken, "group": None, "value": 0.1, "finding": "repeats"},
        {"kind": "outlier", "example_id": others[0], "other_id": None, "group": None, "value": 9, "finding": "far"},
        {
            "kind": "conflict",
            "example_id": others[1],
            "other_id": others[2],
            "group": None,
            "value": 0,
            "finding": "two",
        },
        {"kind": "outlier", "example_id": taken, "other_id": None, "group": None, "value": 8, "finding": "far"},
        {"kind": "class", "example_id": None, "other_id": None, "group": "class 1", "value": 1, "finding": "many"},
    ]
    write_table(flagged.findings, pa.Table.from_pylist(found, FINDINGS), FINDINGS)
    items = build(flagged)
    assert [item.example_id for item in items] == [
        *(row["example_id"] for row in flags),
        others[1],
        others[0],
        held_out,
    ]
    assert [item.kind for item in items[-3:]] == ["conflict", "outlier", "leak"]
    assert [item.rank for item in items[: len(flags)]] == list(range(1, len(flags) + 1))
    row, item = flags[0], items[0]
    assert (item.given_label, item.suggested_label, item.reason) == (
        row["given_label"],
        row["suggested_label"],
        row["reason"],
    )
    assert item.error_probability == row["error_probability"] and item.signals["loss"] == row["loss"]
    assert (item.evidence_for, item.evidence_against) == (row["evidence_for"], row["evidence_against"])
    assert item.content == contents(train)[train["example_id"].to_pylist().index(taken)]
    assert {item.run for item in items} == {run_identity(flagged)} and {item.state for item in items} == {"open"}
    conflict, outlier, leak = items[-3:]
    assert (conflict.other_id, conflict.reason) == (others[2], "two") and conflict.suggested_label is not None
    assert outlier.suggested_label is None and outlier.signal_ranks
    assert (leak.split, leak.other_id, leak.signals, leak.rank) == ("test", taken, {}, None)


def test_signal_ranks_are_shares_of_the_training_set(flagged: Workspace, first: Item) -> None:
    losses = np.array(read_table(flagged.signals)["loss"].to_pylist())
    below = (losses < first.signals["loss"]).sum() / (len(losses) - 1)
    assert first.signal_ranks["loss"] == pytest.approx(below)


def test_a_verdict_settles_its_item_and_survives_the_store(flagged: Workspace, first: Item) -> None:
    verdict = verdict_on(first, "relabel", "ann")
    assert verdict.new_label == first.suggested_label and verdict.signals == first.signal_ranks
    store.append(flagged, [verdict])
    again = build(flagged)
    assert again[0].state == "settled" and [said.decision for said in again[0].verdicts] == [verdict.decision]
    assert {item.state for item in again[1:]} == {"open"}
    store.append(flagged, [verdict_on(first, "withdrawn", "ann")])
    assert build(flagged)[0].state == "open"


def test_reviewers_who_differ_contest_and_who_is_unsure_leaves_it_to_the_others(first: Item) -> None:
    assert states(first, verdict_on(first, "keep", "ann"), verdict_on(first, "drop", "bob")) == "contested"
    [item] = with_verdicts([first], [verdict_on(first, "unsure", "ann")])
    assert item.state == "unsure" and open_to(item, "bob") and not open_to(item, "ann")
    assert open_to(first, "ann") and not open_to(replace(first, state="settled"), "ann")


def test_what_was_judged_is_asked_again_only_on_new_ground(first: Item) -> None:
    keep = verdict_on(first, "keep", "ann")
    assert states(replace(first, content="changed"), keep) == "open"
    assert states(replace(first, given_label="class 9"), keep) == "open"
    assert states(replace(first, suggested_label="class 9"), keep) == "open"
    assert states(replace(first, suggested_label="class 9"), verdict_on(first, "drop", "ann")) == "settled"
    assert states(replace(first, run="another run", rank=99, reason="another"), keep) == "settled"
    # relabelled, and now its old label is suggested: both had been before the reviewer
    relabel = verdict_on(first, "relabel", "ann", "class 9")
    assert states(replace(first, label="class 9", suggested_label=first.given_label), relabel) == "settled"


def test_a_relabel_to_the_given_label_is_keep(first: Item) -> None:
    assert verdict_on(first, "relabel", "ann", first.given_label).decision == ("keep", None)
    with pytest.raises(UserError, match="a relabel needs one"):
        verdict_on(replace(first, suggested_label=None), "relabel", "ann")


def test_without_flags_there_is_nothing_to_review(make_prepared: Callable[..., Workspace], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to review before `influence run`"):
        build(make_prepared(tmp_path))


def test_slices_are_shown_by_column(flagged: Workspace) -> None:
    path = flagged.split("train")
    table = pq.read_table(path)
    column = pa.array([f"site {place % 3}" for place in range(len(table))])
    pq.write_table(table.append_column("slice_site", column), path)
    place = table["example_id"].to_pylist().index(build(flagged)[0].example_id)
    assert build(flagged)[0].slices == {"site": f"site {place % 3}"}
