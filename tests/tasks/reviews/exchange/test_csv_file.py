"""The CSV file that leaves, and what comes back in it."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.exchange import csv_file
from tasks.reviews.exchange.answers import Reply
from tasks.reviews.queue import build, verdict_on
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_every_open_question_has_a_row_and_every_verdict_that_counts(
    flagged: Workspace, make_verdict: Callable[..., Verdict], tmp_path: Path
) -> None:
    items = build(flagged)
    store.append(flagged, [verdict_on(items[0], "drop", "ann"), verdict_on(items[0], "relabel", "ann")])
    store.append(flagged, [verdict_on(items[1], "unsure", "ann"), make_verdict("gone", "drop")])
    path = tmp_path / "queue.csv"
    assert csv_file.write(flagged, path) == len(items) - 1
    written = rows(path)
    assert [row["example_id"] for row in written] == [
        items[0].example_id,
        *(item.example_id for item in items[1:2] * 2),
        *(item.example_id for item in items[2:]),
        "gone",
    ]
    assert [(row["verdict"], row["new_label"], row["reviewer"]) for row in written[:4]] == [
        ("relabel", items[0].suggested_label, "ann"),
        ("unsure", "", "ann"),
        ("", "", ""),
        ("", "", ""),
    ]
    assert written[3]["reason"] == items[2].reason and written[3]["rank"] == "3"
    assert '"x0"' in written[0]["text"]


def test_the_rows_that_are_answered_are_read(flagged: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "queue.csv"
    csv_file.write(flagged, path)
    assert csv_file.read(path) == []
    written = rows(path)
    written[0].update(verdict=" Keep", reviewer="bob")
    written[2].update(verdict="relabel", new_label="class 1")
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, written[0])
        writer.writeheader()
        writer.writerows(written)
    first, second = csv_file.read(path)
    content, given_label = (written[0][name] for name in ("content", "given_label"))
    assert first == Reply("row 2", written[0]["example_id"], "keep", None, "bob", content, given_label)
    assert (second.where, second.verdict, second.new_label, second.reviewer) == ("row 4", "relabel", "class 1", None)


def test_four_columns_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("example_id,verdict,new_label,reviewer\na,relabel,'=dog,ann\nb,keep,,\nc,,,\n", encoding="utf-8")
    assert csv_file.read(path) == [
        Reply("row 2", "a", "relabel", "=dog", "ann"),
        Reply("row 3", "b", "keep"),
    ]


@pytest.mark.parametrize(
    "value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "''=1", "007", "123456789012345678", "12e34567"]
)
def test_what_a_spreadsheet_would_run_or_rewrite_gets_a_quote(value: str) -> None:
    assert csv_file.escaped(value) == f"'{value}" and csv_file.unescaped(f"'{value}") == value


@pytest.mark.parametrize("value", ["dog", "'tis", "12", "a=b", "0", "1.5", "", "0x12", "e5"])
def test_other_values_are_left_alone(value: str) -> None:
    assert csv_file.escaped(value) == csv_file.unescaped(value) == value


@given(
    st.text(alphabet=st.one_of(st.sampled_from("'=+-@\t\r\n 0e1,\"\x00"), st.characters(codec="utf-8")), max_size=12)
)
def test_every_value_comes_back(value: str) -> None:
    assert csv_file.unescaped(csv_file.escaped(value)) == value


def test_hostile_ids_and_labels_come_back_through_a_file(
    flagged: Workspace, make_verdict: Callable[..., Verdict], tmp_path: Path
) -> None:
    hostile = ["=HYPERLINK(1)", "a\r\nb", 'q"uo,te', "\u202eabc", "nul\x00", "'='", "007"]
    given = [make_verdict(name, "relabel", new_label=f"-{name}") for name in hostile]
    store.append(flagged, given)
    path = tmp_path / "queue.csv"
    csv_file.write(flagged, path)
    back = csv_file.read(path)
    assert [(reply.example_id, reply.new_label) for reply in back] == [(name, f"-{name}") for name in hostile]
    assert all(not value.startswith(("=", "+", "-", "@")) for row in rows(path) for value in row.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,verdict\na,keep\n", "has no column example_id"),
        (b"", "has no column example_id and no column verdict"),
        (b"example_id,verdict\n\xff\xfe,keep\n", "is not a CSV file in UTF-8"),
        (b'example_id,verdict\n"a"b,keep\n', "is not a CSV file in UTF-8"),
        (b"example_id,verdict\n" + b"a" * 200_000 + b",keep\n", "is not a CSV file in UTF-8"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        csv_file.read(tmp_path / "bad.csv")
    with pytest.raises(UserError, match="is missing"):
        csv_file.read(tmp_path / "none.csv")
