"""Events of a run as lines of JSON."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks import journal
from tasks.progress import Progress


def lines(work: Path) -> list[dict[str, object]]:
    return [line for path in journal.logs(work).glob("*.jsonl") for line in journal.read(path)]


def test_every_line_has_time_run_stage_shard_and_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(journal.RUN, "r1")
    with journal.stage_journal(tmp_path, "score"):
        with journal.shard("0001"):
            journal.record("shard finished", seconds=0.5)
        progress = Progress("score", 4, interval=0.0)
        progress.advance(1)
        journal.record("stage ended", seconds=1.0)
    started, shard, moving, ended = lines(tmp_path)
    assert all(list(line)[:5] == ["time", "run", "stage", "shard", "event"] for line in (started, shard, moving, ended))
    assert {(line["run"], line["stage"]) for line in (started, shard, ended)} == {("r1", "score")}
    assert started["event"] == "stage started" and started["shard"] is None
    assert (shard["event"], shard["shard"], shard["seconds"]) == ("shard finished", "0001", 0.5)
    assert (moving["part"], moving["done"], moving["total"]) == ("score", 1, 4)
    assert abs(datetime.fromisoformat(str(ended["time"])) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_failure_is_written_down_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(journal.RUN, raising=False)
    with pytest.raises(ValueError, match="too large"), journal.stage_journal(tmp_path, "train"):
        raise ValueError("too large")
    last = lines(tmp_path)[-1]
    assert (last["event"], last["reason"]) == ("stage failed", "too large")
    assert str(last["run"]).startswith("dvc-"), "a stage that no flow has started"


def test_outside_a_stage_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    journal.record("shard finished")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(journal.FOLDER, str(tmp_path / "elsewhere"))
    journal.Journal(tmp_path / "work", "r1").record("run started")
    assert (tmp_path / "elsewhere/r1.jsonl").exists() and not (tmp_path / "work").exists()


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    journal.Journal(tmp_path, "r1").record("run started")


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    one = journal.Journal(tmp_path, "r1")
    one.record("run started")
    with one.path.open("a") as file:
        file.write('{"event": "stage st\n[1]\n')
    one.record("run ended")
    assert [line["event"] for line in journal.read(one.path)] == ["run started", "run ended"]


def test_only_the_newest_logs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEPT", 2)
    for number in range(4):
        (tmp_path / f"{number}.jsonl").write_text(json.dumps({"event": "run started"}))
        os.utime(tmp_path / f"{number}.jsonl", (number, number))
    journal.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.jsonl", "3.jsonl"]
