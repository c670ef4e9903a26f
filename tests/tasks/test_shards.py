"""Shards outlive a kill, and nothing of another computation is reused."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.errors import UserError
from tasks.shards import RUNNER, Shards, Wait, write_shard

NAMES = ["a", "b", "c"]


class Work:
    """Computes shards, remembers which, and can be interrupted like a process that dies."""

    def __init__(self, dies_at: str | None = None) -> None:
        self.dies_at, self.computed = dies_at, list[str]()

    def __call__(self, name: str) -> dict[str, Tensor]:
        if name == self.dies_at:
            raise InterruptedError
        self.computed.append(name)
        return {"value": torch.tensor([float(ord(name))])}


def interrupted(root: Path, fingerprint: str = "f1", at: str = "c") -> None:
    with pytest.raises(InterruptedError):
        Shards(root, "stage", fingerprint).run(NAMES, Work(dies_at=at))


def test_finished_shards_are_reused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path)
    assert capsys.readouterr().out == ""
    shards, work = Shards(tmp_path, "stage", "f1"), Work()
    assert [shards.done(name) for name in NAMES] == [True, True, False]
    shards.run(NAMES, work)
    assert work.computed == ["c"]
    assert capsys.readouterr().out == "stage: 2 shards reused, 1 to do\n"
    assert [float(shards.read(name)["value"]) for name in NAMES] == [97.0, 98.0, 99.0]
    shards.remove()
    assert list(tmp_path.iterdir()) == []


def test_shards_of_another_fingerprint_are_removed_and_those_of_another_stage_are_not(tmp_path: Path) -> None:
    interrupted(tmp_path)
    Shards(tmp_path, "other", "f1").run(["a"], Work())
    work = Work()
    Shards(tmp_path, "stage", "f2").run(NAMES, work)
    assert work.computed == NAMES
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["f2"]
    assert Shards(tmp_path, "other", "f1").done("a")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-2],
        lambda content: b"",
        lambda content: b"\xff" * 60,
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),  # a number has changed: safetensors would not notice
    ],
)
def test_a_damaged_shard_is_computed_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage) -> None:  # type: ignore[no-untyped-def]
    interrupted(tmp_path)
    path = tmp_path / "stage/f1/a.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    shards, work = Shards(tmp_path, "stage", "f1"), Work()
    shards.run(NAMES, work)
    assert work.computed == ["a", "c"]
    assert "shard a of an earlier run is damaged and is computed anew" in capsys.readouterr().out
    assert float(shards.read("a")["value"]) == 97.0


def test_shards_computed_elsewhere_are_asked_for_together_and_waited_for_one_by_one(tmp_path: Path) -> None:
    interrupted(tmp_path, at="b")
    seen: list[str] = []

    @contextlib.contextmanager
    def elsewhere(folder: Path, names: list[str]) -> Iterator[Wait]:
        seen.append(" ".join(names))
        for name in names:
            write_shard(folder, name, Work()(name))
        yield lambda name: float(bool(seen.append(f"waited for {name}")))

    shards, here = Shards(tmp_path, "stage", "f1"), Work()
    shards.run(NAMES, here, elsewhere)
    assert here.computed == [] and seen == ["b c", "waited for b", "waited for c"]
    assert [float(shards.read(name)["value"]) for name in NAMES] == [97.0, 98.0, 99.0]
    shards.run(NAMES, here, elsewhere)
    assert len(seen) == 3  # nobody is asked for what is there


def test_the_runner_named_by_the_environment_runs_the_missing_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runner_of_shard_test.py").write_text(
        "seen = []\n"
        "def backwards(stage, names, compute):\n"
        "    seen.append((stage, list(names)))\n"
        "    for name in reversed(names):\n"
        "        compute(name)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    interrupted(tmp_path / ".work", at="b")
    monkeypatch.setenv(RUNNER, "runner_of_shard_test:backwards")
    work = Work()
    Shards(tmp_path / ".work", "stage", "f1").run(NAMES, work)
    assert work.computed == ["c", "b"]
    import runner_of_shard_test  # type: ignore[import-not-found]

    assert runner_of_shard_test.seen == [("stage", ["b", "c"])]
    monkeypatch.setenv(RUNNER, "runner_of_shard_test:missing")
    with pytest.raises(UserError, match=r"`INFLUENCE_SHARD_RUNNER`: runner_of_shard_test has no function 'missing'"):
        Shards(tmp_path / ".work", "stage", "f1").run(NAMES, work)
