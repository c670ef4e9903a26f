"""The file of verdicts, under several writers and a kill."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.artifacts import VERDICTS
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

# Appends verdicts of its own until it is killed or has given its number.
WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tasks.reviews import store
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

reviewer, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    verdict = Verdict(f"{number}", "keep", None, reviewer, datetime.now(UTC), "run", "label", "c", "cat")
    store.append(Workspace(Path()), [verdict])
    print(number, flush=True)
"""


def test_what_is_appended_is_read_back_in_order(make_verdict: Callable[..., Verdict], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert store.read(workspace) == []
    full = make_verdict(
        "é<b>",
        "relabel",
        "ann",
        "dog",
        suggested_label="dog",
        error_probability=0.5,
        rank=3,
        reason="loses 3 nats",
        evidence=["x", "y"],
        signals={"loss": 0.75},
    )
    store.append(workspace, [full, make_verdict("b", "keep")])
    store.append(workspace, [make_verdict("é<b>", "withdrawn")])
    assert store.read(workspace) == [full, make_verdict("b", "keep"), make_verdict("é<b>", "withdrawn")]
    assert pq.read_schema(workspace.verdicts).remove_metadata() == VERDICTS


def test_reviewers_at_once_lose_nothing(make_verdict: Callable[..., Verdict], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    command = [sys.executable, "-c", WRITER]
    others = [
        subprocess.Popen([*command, name, "8"], cwd=tmp_path, stdout=subprocess.DEVNULL) for name in ("bob", "cy")
    ]
    with ThreadPoolExecutor(4) as threads:
        for thread in range(4):
            for number in range(5):
                threads.submit(store.append, workspace, [make_verdict(f"{number}", "keep", f"thread {thread}")])
    assert [other.wait() for other in others] == [0, 0]
    given = [(verdict.reviewer, verdict.example_id) for verdict in store.read(workspace)]
    expected = [(f"thread {thread}", f"{number}") for thread in range(4) for number in range(5)]
    expected += [(name, f"{number}") for name in ("bob", "cy") for number in range(8)]
    assert sorted(given) == sorted(expected)
    assert [example for reviewer, example in given if reviewer == "bob"] == [f"{number}" for number in range(8)]


def test_a_writer_that_is_killed_leaves_every_verdict_it_had_given(
    make_verdict: Callable[..., Verdict], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, "bob", "100000"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    heard = [writer.stdout.readline() for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    heard += [line for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    writer.stdout.close()
    given = [verdict.example_id for verdict in store.read(workspace)]
    assert given[: len(heard)] == [line.strip() for line in heard] and len(given) <= len(heard) + 1
    store.append(workspace, [make_verdict("after", "keep")])  # its lock died with it
    assert len(store.read(workspace)) == len(given) + 1


def test_verdicts_already_given_are_not_added_again(make_verdict: Callable[..., Verdict], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    given = [make_verdict("a", "keep"), make_verdict("b", "relabel", new_label="dog")]
    assert store.append_new(workspace, given) == 2
    assert store.append_new(workspace, given) == 0
    assert store.append_new(workspace, [make_verdict("a", "keep", "bob"), make_verdict("a", "drop")]) == 2
    assert store.append_new(workspace, [make_verdict("b", "relabel", new_label="dog", content="changed")]) == 1
    assert len(store.read(workspace)) == 5


def test_an_empty_file_is_made_where_there_is_none(make_verdict: Callable[..., Verdict], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    store.create(workspace)
    assert workspace.verdicts.exists() and store.read(workspace) == []
    store.append(workspace, [make_verdict("a", "keep")])
    store.create(workspace)
    assert len(store.read(workspace)) == 1


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty"])
def test_a_damaged_file_is_named_and_left_as_it_is(
    make_verdict: Callable[..., Verdict], tmp_path: Path, damage: str
) -> None:
    workspace = Workspace(tmp_path)
    store.append(workspace, [make_verdict("a", "keep")])
    content = workspace.verdicts.read_bytes()
    if damage == "foreign":
        pq.write_table(pq.read_table(workspace.verdicts).drop_columns(["reviewer"]), workspace.verdicts)
    else:
        workspace.verdicts.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    before = workspace.verdicts.read_bytes()
    with pytest.raises(UserError, match=r"verdicts\.parquet is damaged .*`git checkout"):
        store.append(workspace, [make_verdict("b", "keep")])
    assert workspace.verdicts.read_bytes() == before


def test_the_folder_of_the_file_holds_nothing_else(make_verdict: Callable[..., Verdict], tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        store.append(Workspace(Path()), [make_verdict("a", "keep")])
        assert [path.name for path in Path("reviews").iterdir()] == ["verdicts.parquet"]
