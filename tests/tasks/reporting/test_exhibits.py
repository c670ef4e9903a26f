import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.reporting.exhibits import (
    FIELD_LIMIT,
    SNIPPET_LIMIT,
    TEXT_LIMIT,
    VALUE_LIMIT,
    describe,
    load_gallery,
)
from tasks.workspace import Workspace


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    shown = describe("x" * 10_000_000, "text")
    assert (len(shown.text), shown.omitted) == (TEXT_LIMIT, 10_000_000 - TEXT_LIMIT)


def test_a_row_becomes_its_fields() -> None:
    shown = describe(json.dumps({"age": 39, "job": "clerk", "gain": None}), "table")
    assert shown.fields == (("age", "39"), ("job", "clerk"), ("gain", "missing"))
    assert shown.snippet == "age: 39, job: clerk, gain: missing"


def test_a_wide_row_and_a_long_value_are_cut() -> None:
    shown = describe(json.dumps({f"column {i}": "x" * 5000 for i in range(500)}), "table")
    assert (len(shown.fields), shown.omitted) == (FIELD_LIMIT, 500 - FIELD_LIMIT)
    assert all(len(value) <= VALUE_LIMIT + 1 for _, value in shown.fields)


def test_a_text_that_looks_like_a_row_stays_a_text() -> None:
    assert describe('{"a": 1}', "text").text == '{"a": 1}'


@given(st.text(max_size=4000), st.sampled_from(["text", "table", "image"]))
def test_anything_can_be_shown_within_the_limits(display: str, kind: str) -> None:
    shown = describe(display, kind)
    assert len(shown.text) <= TEXT_LIMIT
    assert len(shown.snippet) <= SNIPPET_LIMIT
    assert "\n" not in shown.snippet


def test_equal_pictures_are_held_once(make_workspace: Callable[..., Workspace]) -> None:
    workspace = make_workspace(train=10_010, planted=0, flagged=1)  # the last 10 repeat the first 10
    ids = [f"{i:05d}-example" for i in (0, 1, 2, 10_000, 10_001)]
    gallery = load_gallery(workspace, {"train": ids})
    assert [gallery[i].picture for i in ids] == [0, 1, 2, 0, 1]
    assert len(gallery.pictures) == 3
    assert gallery["no such id"].picture is None


def test_a_missing_split_says_what_to_run(make_workspace: Callable[..., Workspace]) -> None:
    workspace = make_workspace(train=60, planted=5)
    workspace.split("train").unlink()
    with pytest.raises(UserError, match=r"train\.parquet is missing: run the stage prepare"):
        load_gallery(workspace, {"train": ["00000-example"]})
