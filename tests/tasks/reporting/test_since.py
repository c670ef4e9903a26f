import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.artifacts import APPLIED, PREDICTIONS, SIGNALS, write_table
from tasks.history import record
from tasks.parameters import Drift, load_parameters
from tasks.report import run
from tasks.reporting.since import VALUES_SHOWN, Since, compare
from tasks.reviews import queue, store
from tasks.workspace import Workspace

MakeWorkspace = Callable[..., Workspace]
START = datetime(2026, 3, 1, tzinfo=UTC)


def since(workspace: Workspace, day: int, limits: Drift | None = None) -> Since:
    return compare(workspace, record(workspace, START + timedelta(days=day)), limits or Drift())


def report(workspace: Workspace) -> tuple[str, dict[str, Any]]:
    run(workspace, load_parameters(workspace.parameters))
    return workspace.report.read_text(encoding="utf-8"), json.loads(workspace.report_metrics.read_text())


def mend(workspace: Workspace) -> None:
    """As after a review and another run: the first flag was relabelled, the second kept; the last is no flag now."""
    first, second, *_ = queue.build(workspace)
    verdicts = [queue.verdict_on(first, "relabel", "ann"), queue.verdict_on(second, "keep", "ann")]
    store.append(workspace, verdicts)
    rows = [
        {"example_id": v.example_id, "split": "train", "verdict": v.verdict, "outcome": "applied"} for v in verdicts
    ]
    write_table(workspace.applied_verdicts, pa.Table.from_pylist(rows, APPLIED), APPLIED)
    flags = pq.read_table(workspace.flags)
    pq.write_table(flags.slice(1, len(flags) - 2), workspace.flags)


def mend_predictions(workspace: Workspace, wrong: int) -> str:
    """Let the model read all but the first `wrong` test examples right; returns the id of the first."""
    table = pq.read_table(workspace.predictions)
    test = [row for row, split in enumerate(table["split"].to_pylist()) if split == "test"]
    predicted, labels = table["predicted"].to_pylist(), table["label"].to_pylist()
    for row in test:
        predicted[row] = labels[row]
    for row in test[:wrong]:
        predicted[row] = next(label for label in sorted(set(labels)) if label != labels[row])
    table = table.set_column(table.schema.get_field_index("predicted"), "predicted", pa.array(predicted))
    write_table(workspace.predictions, table, PREDICTIONS)
    return str(table["example_id"][test[0]].as_py())


def spoil(workspace: Workspace, column: str, values: pa.Array, probability: float) -> None:
    """Let the labels of the training examples with one of these values be wrong with this probability."""
    table = pq.read_table(workspace.signals)
    chosen = pc.is_in(table[column], values)
    spoilt = pc.if_else(chosen, pa.scalar(probability, pa.float32()), table["error_probability"])
    place = table.schema.get_field_index("error_probability")
    write_table(workspace.signals, table.set_column(place, "error_probability", spoilt), SIGNALS)


def test_the_first_run_has_nothing_to_be_compared_with(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace()
    first = since(workspace, 0)
    assert (first.previous, first.accuracy, first.flags, first.shown, first.alerts) == (None, None, None, 1, [])
    page, metrics = report(workspace)
    assert "This is the first run recorded here." in page and metrics["drift"] == []
    assert page.index('<section id="flags">') < page.index('<section id="since">')
    assert page == report(workspace)[0]  # its own record is not a run before it


def test_what_became_of_the_flags(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace()
    before = record(workspace, START)
    mend(workspace)
    after = since(workspace, 1)
    assert after.previous == before and after.flags is not None
    assert after.flags.resolved == {"relabel": 1, "keep": 1, "no longer flagged": 1}
    assert (after.flags.persisting, after.flags.new) == (27, frozenset())
    assert after.verdicts == {"relabel": 1, "keep": 1}
    page, metrics = report(workspace)
    assert metrics["flagged"] == 28 and metrics["judged"] == 1
    assert "Review these 27 labels" in page
    assert "1 kept, for the label was right" in re.sub("<[^>]+>", "", page)
    assert page.count('<span class="badge">judged</span>') == 1
    assert page.index('<section id="since">') < page.index('<section id="flags">')


def test_accuracy_leaves_out_what_somebody_judged(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace()
    mend_predictions(workspace, 20)
    record(workspace, START)
    touched = mend_predictions(workspace, 5)
    flags = pq.read_table(workspace.flags)
    pq.write_table(flags.slice(0, len(flags) - 1), workspace.flags)
    item = queue.build(workspace, [touched])[-1]
    store.append(workspace, [queue.verdict_on(item, "keep", "ann")])
    change = since(workspace, 1).accuracy
    assert change is not None and (change.examples, change.left_out) == (59, 1)
    assert (change.before, change.after) == (pytest.approx(40 / 59), pytest.approx(55 / 59))
    assert 0 < change.low < 15 / 59 < change.high
    page = re.sub(r"<[^>]+>|\s+", " ", report(workspace)[0])
    assert "on the 59 test examples" in page and "The model got better, beyond what chance explains." in page


def test_drift_is_told_on_the_page_and_in_the_metrics(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(classes=["<i>bad</i>", "good"])
    record(workspace, START)
    spoil(workspace, "given_label", pa.array(["<i>bad</i>"]), 0.9)
    flags = pq.read_table(workspace.flags)
    pq.write_table(flags.slice(0, len(flags) - 1), workspace.flags)
    page, metrics = report(workspace)
    (alert,) = metrics["drift"]
    assert alert["group"] == "<i>bad</i>" and alert["now"] == pytest.approx(0.9)
    assert page.count('<li class="drifted">') == 1 and "<i>" not in page
    assert "The share of labels that came wrong, found or expected, rose from" in page


def test_of_many_groups_those_that_changed_most_are_shown(make_workspace: MakeWorkspace) -> None:
    values = [f"site {i}" for i in range(20)]
    workspace = make_workspace(slices={"site": values})
    record(workspace, START)
    train = pq.read_table(workspace.split("train"))
    at_site = train.filter(pc.equal(train["slice_site"], "site 19"))["example_id"].combine_chunks()
    spoil(workspace, "example_id", at_site, 0.99)
    flags = pq.read_table(workspace.flags)
    pq.write_table(flags.slice(0, len(flags) - 1), workspace.flags)
    found = since(workspace, 1)
    assert len(found.trends["site"]) == VALUES_SHOWN and found.hidden == {"site": 8}
    assert found.trends["site"][-1].group.value == "site 19" and found.trends["site"][-1].alert
    assert found.trends["site"][-1].rates[-1] == pytest.approx(0.99)
    assert [alert.kind for alert in found.alerts] == ["slice"]
