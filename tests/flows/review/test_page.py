"""The page as Streamlit draws it, without a browser."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.review import gallery, live_queue
from tasks.artifacts import FINDINGS, FLAGS, read_table, write_table
from tasks.reviews import store
from tasks.reviews.queue import build
from tasks.run_identity import run_identity
from tasks.workspace import Workspace

MakeFlagged = Callable[..., Workspace]
Visiting = Callable[..., Any]


def flagged_ids(workspace: Workspace) -> list[str]:
    return read_table(workspace.flags)["example_id"].to_pylist()


def said(workspace: Workspace) -> list[tuple[str, str, str | None, str]]:
    return [(one.example_id, one.verdict, one.new_label, one.reviewer) for one in store.read(workspace)]


def asked(workspace: Workspace) -> int:
    return len(build(workspace))


def test_every_answer_is_in_the_file_and_the_next_question_is_shown(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged()
    ids = flagged_ids(workspace)
    suggested = read_table(workspace.flags)["suggested_label"].to_pylist()
    ann = visit(workspace)
    for place, key in enumerate("krdu"):
        assert ann.shown == ids[place]
        ann.press(key)
        assert len(said(workspace)) == place + 1
    assert said(workspace) == [
        (ids[0], "keep", None, "ann"),
        (ids[1], "relabel", suggested[1], "ann"),
        (ids[2], "drop", None, "ann"),
        (ids[3], "unsure", None, "ann"),
    ]
    assert ann.shown == ids[4] and f"<strong>3</strong> of {asked(workspace)} settled" in ann.html
    assert {one.run for one in store.read(workspace)} == {run_identity(workspace)}


def test_another_label_than_the_suggested_one(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged()
    row = read_table(workspace.flags).to_pylist()[0]
    ann = visit(workspace)
    [box] = [box for box in ann.page.selectbox if box.key.startswith("press-l-")]
    assert box.value == row["suggested_label"] and row["given_label"] not in box.options
    other = next(name for name in box.options if name != row["suggested_label"])
    ann.choose("press-l-", other)
    ann.press("r")
    assert said(workspace) == [(row["example_id"], "relabel", other, "ann")]


def test_undo_adds_rows_and_goes_back(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged()
    first, second = flagged_ids(workspace)[:2]
    ann = visit(workspace)
    assert not ann.can_press("z")
    ann.press("k")
    ann.press("d")
    ann.press("z")
    assert ann.shown == second
    ann.press("z")
    assert ann.shown == first and not ann.can_press("z")
    assert [row[:2] for row in said(workspace)] == [
        (first, "keep"),
        (second, "drop"),
        (second, "withdrawn"),
        (first, "withdrawn"),
    ]
    assert f"<strong>0</strong> of {asked(workspace)} settled" in ann.html


def test_on_and_back_go_round(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged()
    ann = visit(workspace)
    ann.press("p")
    assert f"{asked(workspace)} of {asked(workspace)}" in ann.html
    ann.press("n")
    assert ann.shown == flagged_ids(workspace)[0]
    assert said(workspace) == []


def test_a_key_pressed_twice_judges_no_unseen_example(make_flagged: MakeFlagged, visit: Visiting) -> None:
    """The button of the second press is that of the example that was seen, which is no more on the page."""
    ann = visit(make_flagged())
    before = {button.key for button in ann.page.button}
    ann.press("k")
    assert before.isdisjoint(button.key for button in ann.page.button)


def test_two_reviewers_lose_nothing_and_see_what_the_other_settled(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged()
    ids = flagged_ids(workspace)
    ann, bob = visit(workspace, "ann"), visit(workspace, "bob")
    ann.press("k")
    ann.press("u")
    assert bob.shown == ids[0]
    bob.press("d")  # ann had settled what bob still saw: both verdicts count, and they differ
    assert bob.shown == ids[1]  # ann was unsure: open to bob
    bob.press("k")
    assert bob.shown == ids[2]
    ann.press("k")
    assert [row[0::3] for row in said(workspace)] == [
        (ids[0], "ann"),
        (ids[1], "ann"),
        (ids[0], "bob"),
        (ids[1], "bob"),
        (ids[2], "ann"),
    ]
    assert "<dt>reviewers agree</dt><dd>0\u202f% of 1</dd>" in ann.html
    ann.choose("standing", "Contested")
    assert ann.shown == ids[0] and "bob: drop" in ann.html and "ann: keep" in ann.html
    bob.choose("standing", "Settled by others only")
    assert bob.shown == ids[2] and "ann: keep" not in bob.html  # a second look is not swayed by the first


def test_another_reviewer_sits_down(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged()
    ann = visit(workspace)
    ann.page.text_input(key="reviewer").set_value("bob")
    ann.draw()
    ann.press("k")
    assert [row[3] for row in said(workspace)] == ["bob"]
    assert ann.page.query_params["reviewer"] in ("bob", ["bob"])  # so that a reload keeps the name


def test_filters(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged(slices={"site": ["north", "south"]})
    ann = visit(workspace)
    ann.choose("kind", "Near-duplicate")
    assert "1 of 2" in ann.html and "Its near-duplicate" in ann.html
    ann.choose("kind", "Any")
    ann.choose("slice-0", "north")
    assert {item.slices["site"] for item in ann.page.session_state.desk.ahead(20)} == {"north"}
    ann.choose("slice-0", "Any site")
    given = read_table(workspace.flags)["given_label"][2].as_py()
    ann.choose("given", given)
    assert {item.given_label for item in ann.page.session_state.desk.ahead(20)} == {given}
    ann.choose("standing", "Contested")
    assert ann.shown is None and "No question passes these filters." in ann.html


def test_while_a_run_is_under_way_the_old_questions_stay_and_then_the_new_ones_come(
    make_flagged: MakeFlagged, visit: Visiting
) -> None:
    workspace = make_flagged()
    flags, before = read_table(workspace.flags), run_identity(workspace)
    ids = flags["example_id"].to_pylist()
    ann = visit(workspace)
    workspace.flags.unlink()
    ann.press("k")
    assert ann.shown == ids[1]
    assert store.read(workspace)[0].run == before
    write_table(workspace.flags, flags.slice(2), FLAGS)
    ann.press("k")  # on what was shown, by the run that showed it
    assert "A run has finished." in ann.html and ann.shown == ids[2]
    assert [(one.example_id, one.run) for one in store.read(workspace)] == [(ids[0], before), (ids[1], before)]
    ann.press("k")
    assert store.read(workspace)[-1].run == run_identity(workspace) != before
    assert "A run has finished." not in ann.html


def test_what_has_changed_since_it_was_asked_about_is_not_judged(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged(kind="text")
    ann = visit(workspace)
    table = pq.read_table(workspace.split("train"))
    texts = pa.array([f"{text} indeed" for text in table["display"].to_pylist()])
    place = table.schema.get_field_index("display")
    pq.write_table(table.set_column(place, "display", texts), workspace.split("train"))
    ann.draw()
    assert "Not to be judged now." in ann.html
    assert not any(map(ann.can_press, "krdu")) and ann.can_press("n")


def test_nothing_to_ask_and_nothing_left(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged(flagged=1)
    write_table(workspace.findings, FINDINGS.empty_table(), FINDINGS)
    ann = visit(workspace)
    ann.press("k")
    assert "Nothing is open for you any more." in ann.html and "influence run" in ann.html
    ann.press("z")
    assert ann.shown == flagged_ids(workspace)[0]
    empty = make_flagged("empty", flagged=1)
    write_table(empty.findings, FINDINGS.empty_table(), FINDINGS)
    write_table(empty.flags, FLAGS.empty_table(), FLAGS)
    assert "This run asks nothing." in visit(empty).html


def test_damaged_verdicts_are_told_and_nothing_is_written(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged()
    ann = visit(workspace)
    workspace.verdicts.parent.mkdir(exist_ok=True)
    workspace.verdicts.write_bytes(b"no parquet")
    ann.press("k")
    assert "is damaged" in ann.html and "git checkout" in ann.html
    assert workspace.verdicts.read_bytes() == b"no parquet"


def test_unusual_values_of_a_row_are_marked(make_flagged: MakeFlagged, visit: Visiting) -> None:
    workspace = make_flagged(kind="table", train=200)
    example = flagged_ids(workspace)[0]
    table = pq.read_table(workspace.split("train"))
    rows = table["display"].to_pylist()
    at = table["example_id"].to_pylist().index(example)
    rows[at] = rows[at].replace("Bachelors", "Doctorate")
    place = table.schema.get_field_index("display")
    pq.write_table(table.set_column(place, "display", pa.array(rows)), workspace.split("train"))
    html = visit(workspace).html
    assert html.count("iv-unusual") == 1 and "in 0.5\u202f% of the training set" in html


@pytest.mark.parametrize("kind", ["image", "table", "text"])
def test_an_answer_reads_neither_the_queue_nor_the_data_again(
    kind: str, make_flagged: MakeFlagged, visit: Visiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_flagged(kind=kind, flagged=30)
    ann = visit(workspace)

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(live_queue, "build", refuse)
    monkeypatch.setattr(gallery, "load_shown", refuse)
    for _ in range(4):
        ann.press("k")
    assert len(said(workspace)) == 4 and ann.shown == flagged_ids(workspace)[4]
