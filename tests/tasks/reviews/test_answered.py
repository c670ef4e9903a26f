"""What people have answered for is not flagged again, unless the answer is of another ground."""

from collections.abc import Callable

import pyarrow as pa
import pytest
from stage_runner import run_in

from tasks import flag
from tasks.artifacts import APPLIED, read_table, write_table
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.answered import answered
from tasks.reviews.queue import build, verdict_on
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace


def record(workspace: Workspace, *outcomes: tuple[str, str]) -> None:
    """What prepare would have written of verdicts on these examples."""
    rows = [{"example_id": example_id, "outcome": outcome} for example_id, outcome in outcomes]
    write_table(workspace.applied_verdicts, pa.Table.from_pylist(rows, APPLIED), APPLIED)


def test_a_flag_that_was_answered_makes_room_for_the_next(flagged: Workspace) -> None:
    before = read_table(flagged.flags)["example_id"].to_pylist()
    ranking = read_table(flagged.signals)["example_id"].to_pylist()
    store.append(flagged, [verdict_on(build(flagged)[1], "keep", "ann")])
    record(flagged, (before[1], "applied"))
    run_in(flagged.root, flag.run)
    after = read_table(flagged.flags)
    expected = [example_id for example_id in ranking[: len(before) + 1] if example_id != before[1]]
    assert after["example_id"].to_pylist() == expected
    assert after["rank"].to_pylist() == list(range(1, len(before) + 1))
    assert read_table(flagged.signals)["example_id"].to_pylist() == ranking
    assert {item.state for item in build(flagged)} == {"open"}


def test_only_an_applied_verdict_that_knew_of_the_suggestion_answers(
    flagged: Workspace, make_verdict: Callable[..., Verdict]
) -> None:
    shown = {"suggested_label": "dog"}
    store.append(
        flagged,
        [
            make_verdict("kept", "keep", **shown),
            make_verdict("contested", "keep", **shown),
            make_verdict("relabelled", "relabel", new_label="cow", **shown),
            make_verdict("withdrawn", "keep", **shown),
            make_verdict("withdrawn", "withdrawn"),
        ],
    )
    record(flagged, ("kept", "applied"), ("contested", "contested"), ("relabelled", "applied"))
    names = ["kept", "contested", "relabelled", "withdrawn", "never judged"]
    assert answered(flagged, names, ["dog"] * 5).tolist() == [True, False, True, False, False]
    assert answered(flagged, names, ["horse"] * 5).tolist() == [False] * 5
    assert answered(flagged, names, ["cat"] * 5).tolist() == [True, False, True, False, False]  # as the data say
    flagged.applied_verdicts.unlink()
    with pytest.raises(UserError, match=r"verdicts\.parquet is missing"):
        answered(flagged, names, ["dog"] * 5)
