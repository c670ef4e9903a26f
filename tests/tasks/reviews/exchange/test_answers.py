"""Answers become verdicts, all or none."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.artifacts import read_table, write_table
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.exchange import csv_file
from tasks.reviews.exchange.answers import Reply, bring
from tasks.reviews.queue import Item, build, verdict_on
from tasks.workspace import Workspace

FILE = Path("answers.csv")


@pytest.fixture
def items(flagged: Workspace) -> list[Item]:
    return build(flagged)


def test_answers_are_verdicts_on_what_the_queue_shows(flagged: Workspace, items: list[Item]) -> None:
    one, two, three = items[:3]
    replies = [
        Reply("row 2", one.example_id, "relabel", one.given_label, "bob", one.content, one.given_label),
        Reply("row 3", two.example_id, "relabel", two.suggested_label),
        Reply("row 4", three.example_id, "unsure"),
    ]
    assert bring(flagged, FILE, replies, "ann") == 3
    given = store.read(flagged)
    assert [(said.verdict, said.new_label, said.reviewer) for said in given] == [
        ("keep", None, "bob"),
        ("relabel", two.suggested_label, "ann"),
        ("unsure", None, "ann"),
    ]
    assert given[1] == replace(verdict_on(two, "relabel", "ann"), time=given[1].time)
    assert bring(flagged, FILE, replies, "ann") == 0
    assert [item.state for item in build(flagged)[:3]] == ["settled", "settled", "unsure"]


def test_the_last_answer_of_a_reviewer_counts_and_the_file_adds_nothing_twice(
    flagged: Workspace, items: list[Item]
) -> None:
    name = items[0].example_id
    replies = [Reply("row 2", name, "keep"), Reply("row 3", name, "drop"), Reply("row 4", name, "keep", None, "bob")]
    assert bring(flagged, FILE, replies, "ann") == 2
    assert bring(flagged, FILE, replies, "ann") == 0
    assert {said.reviewer: said.verdict for said in store.read(flagged)} == {"ann": "drop", "bob": "keep"}


def test_what_was_exported_with_its_verdicts_adds_nothing(
    flagged: Workspace, items: list[Item], tmp_path: Path
) -> None:
    store.append(flagged, [verdict_on(items[0], "drop", "ann"), verdict_on(items[1], "relabel", "bob")])
    path = tmp_path / "queue.csv"
    csv_file.write(flagged, path)
    assert bring(flagged, path, csv_file.read(path), None) == 0


def test_an_example_that_is_not_flagged_may_be_judged_as_well(flagged: Workspace, items: list[Item]) -> None:
    flags = {item.example_id for item in items}
    train = read_table(flagged.split("train")).to_pylist()
    other = next(row for row in train if row["example_id"] not in flags)
    assert bring(flagged, FILE, [Reply("row 2", other["example_id"], "drop")], "ann") == 1
    [given] = store.read(flagged)
    assert (given.given_label, given.rank, given.reason) == (other["given_label"], None, "not flagged in this run")


def test_a_verdict_on_an_example_that_was_dropped_can_be_taken_back(flagged: Workspace, items: list[Item]) -> None:
    dropped = items[0]
    store.append(flagged, [verdict_on(dropped, "drop", "ann")])
    train = read_table(flagged.split("train"))
    keep = [name != dropped.example_id for name in train["example_id"].to_pylist()]
    write_table(flagged.split("train"), train.filter(keep), train.schema.remove_metadata())
    assert bring(flagged, FILE, [Reply("row 2", dropped.example_id, "withdrawn")], "ann") == 1
    last = store.read(flagged)[-1]
    assert (last.verdict, last.content, last.given_label) == ("withdrawn", dropped.content, dropped.given_label)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"example_id": "nobody"}, "row 3: unknown id 'nobody'"),
        ({"verdict": "maybe"}, "row 3: unknown verdict 'maybe': say one of keep, relabel"),
        ({"verdict": "relabel", "new_label": "unicorn"}, "row 3: unknown class 'unicorn': the classes are class 0"),
        ({"verdict": "relabel"}, "row 3: relabel with no new label"),
        ({"new_label": "class 1"}, "row 3: keep with new label 'class 1'"),
        ({"content": "another"}, "row 3: .* has changed since it was exported"),
        ({"given_label": "class 9"}, "row 3: .* has changed since it was exported"),
        ({"reviewer": None}, "row 3: no reviewer is named"),
    ],
)
def test_one_wrong_row_and_nothing_is_added(
    flagged: Workspace, items: list[Item], wrong: dict[str, str], message: str
) -> None:
    good = Reply("row 2", items[0].example_id, "keep", reviewer="ann")
    bad = replace(Reply("row 3", items[1].example_id, "keep", reviewer="ann"), **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"answers\.csv, {message}.*nothing was added$"):
        bring(flagged, FILE, [good, bad], None)
    assert store.read(flagged) == []
    with pytest.raises(UserError, match=r"\(1 more rows are wrong as well\)"):
        bring(flagged, FILE, [good, bad, bad], None)
