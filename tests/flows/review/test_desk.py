"""One reviewer at the queue, without a page."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from flows.review.desk import Desk
from flows.review.filters import Choices, Filters, own_verdict
from flows.review.live_queue import LiveQueue
from flows.review.options import distinct
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.queue import build, verdict_on
from tasks.workspace import Workspace

MakeFlagged = Callable[..., Workspace]


@pytest.fixture
def workspace(make_flagged: MakeFlagged) -> Workspace:
    return make_flagged()


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    seconds = iter(range(0, 1000, 2))
    desk = Desk(workspace, "ann", clock=lambda: next(seconds))
    desk.read(build(workspace))
    return desk


def answer(desk: Desk, what: str) -> None:
    assert desk.current is not None
    desk.judge(desk.current, what)  # type: ignore[arg-type]
    desk.read(build(desk.workspace))


def test_the_pace_is_the_median_and_undo_takes_its_seconds_away(desk: Desk) -> None:
    assert desk.pace is None
    answer(desk, "keep")
    answer(desk, "drop")
    assert desk.seconds == [2, 2] and desk.pace == 2  # the clock is read when an example is shown and when it is judged
    desk.undo()
    assert desk.seconds == [2]


def test_undo_restores_what_the_same_reviewer_had_said_before(desk: Desk) -> None:
    first = desk.current
    assert first is not None
    answer(desk, "keep")
    desk.filter(Filters(standing="mine"))
    assert desk.current is not None and desk.current.example_id == first.example_id
    answer(desk, "drop")
    assert own_verdict(desk.items[0], "ann").verdict == "drop"  # type: ignore[union-attr]
    desk.undo()
    desk.read(build(desk.workspace))
    assert [one.verdict for one in store.read(desk.workspace)] == ["keep", "drop", "withdrawn", "keep"]
    assert own_verdict(desk.items[0], "ann").verdict == "keep"  # type: ignore[union-attr]


def test_what_is_taken_back_is_shown_whatever_the_filters_say(desk: Desk) -> None:
    first = desk.current
    assert first is not None
    answer(desk, "keep")
    desk.filter(Filters(kind="conflict"))
    desk.undo()
    desk.read(build(desk.workspace))
    assert desk.current is not None and desk.current.example_id == first.example_id
    desk.move(1)
    assert desk.current is not None and desk.current.kind == "conflict"


def test_an_example_that_another_settled_is_passed_over(desk: Desk) -> None:
    second, third = desk.items[1], desk.items[2]
    store.append(desk.workspace, [verdict_on(second, "keep", "bob")])
    answer(desk, "keep")
    assert desk.current is not None and desk.current.example_id == third.example_id


def test_a_verdict_that_cannot_be_written_leaves_everything_as_it_was(desk: Desk) -> None:
    first, step = desk.current, desk.step
    assert first is not None
    with pytest.raises(UserError, match="a relabel needs one"):
        desk.judge(replace(first, suggested_label=None), "relabel")
    assert (desk.current, desk.step, desk.given, desk.seconds) == (first, step, [], [])


def test_news_are_read_without_reading_all_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = LiveQueue(workspace)
    before = queue.items
    store.append(workspace, [verdict_on(before[0], "keep", "bob")])
    queue.refresh()
    store.append(workspace, [verdict_on(before[0], "drop", "ann"), verdict_on(before[2], "unsure", "ann")])
    monkeypatch.setattr(store, "read", lambda _: pytest.fail("read again"))
    queue.refresh()
    assert queue.items == build_without_patch(workspace, monkeypatch)
    assert [item.state for item in queue.items[:3]] == ["contested", "open", "unsure"]
    assert before[0].state == "open" and queue.items[3] is before[3]
    assert queue.agreement == (0.0, 1)
    workspace.verdicts.unlink()  # another branch, say
    queue.refresh()
    assert {item.state for item in queue.items} == {"open"}


def build_without_patch(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list:  # type: ignore[type-arg]
    monkeypatch.undo()
    return build(workspace)


def test_choices_are_counted_and_the_most_frequent_come_first(desk: Desk) -> None:
    choices = Choices.of(desk.items)
    assert choices.kinds["label"] == 8 and sum(choices.kinds.values()) == len(desk.items)
    assert sum(choices.given.values()) == len(desk.items)
    assert list(choices.given.values()) == sorted(choices.given.values(), reverse=True)


def test_options_that_look_alike_are_told_apart() -> None:
    assert distinct(["Any", "a\x00", "a\x01", "Any", "Any (2)"]) == [
        "Any",
        "a\ufffd",
        "a\ufffd (2)",
        "Any (2)",
        "Any (2) (2)",
    ]
