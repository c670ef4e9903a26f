"""What verdicts change, and what they must not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tasks.artifacts import read_table
from tasks.errors import UserError
from tasks.reviews.applying import apply, describe
from tasks.reviews.content import contents
from tasks.reviews.verdict import Verdict
from tasks.workspace import SPLITS, Workspace

CLASSES = ["cat", "cow", "dog"]
Make = Callable[..., Verdict]


def split(*rows: tuple[str, str]) -> pa.Table:
    ids, labels = [row[0] for row in rows], [row[1] for row in rows]
    shown = [f"the text of {name}" for name in ids]
    return pa.table(
        {"example_id": ids, "input": [[1.0]] * len(ids), "display": shown, "label": labels, "given_label": labels}
    )


@pytest.fixture
def tables() -> dict[Any, pa.Table]:
    return {
        "train": split(("a", "cat"), ("b", "cow"), ("c", "dog"), ("d", "cat"), ("e", "dog"), ("f", "cow")),
        "validation": split(("v", "cat")),
        "test": split(("t", "cow"), ("u", "dog")),
    }


@pytest.fixture
def on(tables: dict[Any, pa.Table], make_verdict: Make) -> Make:
    """A verdict on an example as it stands in the tables."""
    ground = {
        name: {"content": content, "given_label": given}
        for table in tables.values()
        for name, content, given in zip(
            table["example_id"].to_pylist(), contents(table), table["given_label"].to_pylist(), strict=True
        )
    }

    def verdict(name: str, *said: Any, **shown: Any) -> Verdict:
        return make_verdict(name, *said, **{**ground[name], **shown})

    return verdict


def outcomes(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["example_id"]: row["outcome"] for row in rows}


def test_nothing_changes_without_verdicts(tables: dict[Any, pa.Table]) -> None:
    after, done = apply(tables, [], CLASSES)
    assert after == tables and done == [] and describe(done) == ""


def test_relabel_drop_and_keep_in_every_split(tables: dict[Any, pa.Table], on: Make) -> None:
    given = [
        on("a", "relabel", "ann", "dog"),
        on("b", "drop"),
        on("c", "keep"),
        on("d", "unsure"),
        on("v", "relabel", "ann", "cow"),
        on("t", "drop"),
    ]
    after, done = apply(tables, given, CLASSES)
    train = {row["example_id"]: row for row in after["train"].to_pylist()}
    assert list(train) == ["a", "c", "d", "e", "f"]
    assert (train["a"]["label"], train["a"]["given_label"]) == ("dog", "cat")
    assert all(row["label"] == row["given_label"] for name, row in train.items() if name != "a")
    assert after["validation"]["label"].to_pylist() == ["cow"] and after["test"]["example_id"].to_pylist() == ["u"]
    assert outcomes(done) == dict.fromkeys("abcvt", "applied")
    assert {row["example_id"]: row["split"] for row in done}["t"] == "test"
    assert describe(done) == "verdicts applied: 2 relabelled, 2 dropped, 1 kept"
    assert after["train"].schema == tables["train"].schema


def test_why_a_verdict_is_not_applied_is_recorded(tables: dict[Any, pa.Table], on: Make, make_verdict: Make) -> None:
    given = [
        make_verdict("gone", "drop"),
        on("a", "drop", content="another"),
        on("b", "drop", given_label="dog"),
        on("c", "relabel", "ann", "unicorn"),
        on("d", "keep"),
        on("d", "drop", "bob"),
        on("e", "drop"),
        on("e", "withdrawn"),
    ]
    after, done = apply(tables, given, CLASSES)
    assert after == tables
    assert outcomes(done) == {
        "gone": "example gone",
        "a": "content changed",
        "b": "label changed at the source",
        "c": "unknown new label",
        "d": "contested",
    }
    contested = done[-1]
    assert (contested["verdict"], contested["reviewers"]) == (None, ["ann", "bob"])
    assert done[0]["split"] is None
    assert "1 not applied (contested)" in describe(done)


def test_a_verdict_on_new_ground_counts_beside_one_whose_ground_is_gone(tables: dict[Any, pa.Table], on: Make) -> None:
    given = [on("a", "drop", content="another"), on("a", "relabel", "bob", "dog")]
    after, done = apply(tables, given, CLASSES)
    assert after["train"]["label"][0].as_py() == "dog" and outcomes(done) == {"a": "applied"}
    after, done = apply(tables, [given[0], on("a", "unsure", "bob")], CLASSES)
    assert after == tables and done == []


def test_verdicts_may_not_empty_a_class(tables: dict[Any, pa.Table], on: Make) -> None:
    with pytest.raises(UserError, match="leave no training example of class 'cow'"):
        apply(tables, [on("b", "drop"), on("f", "relabel", "ann", "cat")], CLASSES)


def test_images_are_taken_out_with_their_pixels(
    make_prepared: Callable[..., Workspace], tmp_path: Path, make_verdict: Make
) -> None:
    workspace = make_prepared(tmp_path, count=12, held_out=4)
    tables = {name: read_table(workspace.split(name)) for name in SPLITS}
    train = tables["train"]
    ground = {"content": contents(train)[3], "given_label": train["given_label"][3].as_py()}
    verdict = make_verdict(train["example_id"][3].as_py(), "drop", **ground)
    after, _ = apply(tables, [verdict], ["class 0", "class 1", "class 2"])
    assert len(after["train"]) == 11
    assert contents(after["train"]) == [known for row, known in enumerate(contents(train)) if row != 3]
