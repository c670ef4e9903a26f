"""What else can go wrong around a run: it ends well, or in one clear sentence, and the next one ends well.

INFLUENCE_CRASHES=1 .venv/bin/pytest tests/crashes does it all.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from laboratory import BIN, Laboratory, thorough

pytestmark = pytest.mark.slow


def sentence(output: str) -> str:
    """The one in which a command ended."""
    last = output.strip().splitlines()[-1]
    assert last.startswith("influence: ") and "Traceback" not in output, output
    return last


def outcomes(output: str) -> dict[str, str]:
    """From the table at the end of a run."""
    rows = [line.split("│")[1:3] for line in output.splitlines() if line.startswith("│")]
    return {stage.strip(): outcome.strip() for stage, outcome in rows}


def fill(disk: Path, leave: int) -> Path:
    """Take all of a disk's space but so many bytes."""
    path = disk / "filler"
    with path.open("wb") as file:
        file.write(b"\0" * max(0, shutil.disk_usage(disk).free - leave))
    return path


@pytest.mark.parametrize("stage", [pytest.param("train", marks=thorough), "score"])
def test_a_full_disk_ends_a_stage_in_one_sentence(undisturbed: Laboratory, small_disk: Path, stage: str) -> None:
    laboratory = undisturbed.copied(small_disk / "workspace")
    artifact = {"train": "model/epoch_margins.parquet", "score": "scores/top.parquet"}[stage]
    (laboratory.root / artifact).unlink()
    filler = fill(small_disk, leave=0)
    output = laboratory.call("python", "-I", "-m", f"tasks.{stage}", code=1)
    assert "the disk is full: free some space" in output.splitlines()[-1] and "Traceback" not in output
    assert not (laboratory.root / artifact).exists()
    filler.unlink()
    laboratory.call("python", "-I", "-m", f"tasks.{stage}")
    assert laboratory.artifacts() == undisturbed.artifacts()


@thorough
def test_a_full_disk_ends_a_run_in_one_sentence(undisturbed: Laboratory, small_disk: Path) -> None:
    laboratory = undisturbed.copied(small_disk / "workspace")
    filler = fill(small_disk, leave=0)
    assert "No space left" in (told := sentence(laboratory.run("--target", "train", "--force", code=1))) or (
        "the disk is full" in told
    )
    filler.unlink()
    laboratory.run()
    assert laboratory.artifacts() == undisturbed.artifacts()


def test_a_limit_of_file_sizes_is_told(copy: Laboratory) -> None:
    """Where no disk can be mounted, the next best of what a system refuses."""
    limited = f"ulimit -f 1; exec {BIN / 'python'} -I -m tasks.train"
    output = copy.call("bash", "-c", limited, code=1)
    assert "a file would be larger than is allowed here" in output.splitlines()[-1] and "Traceback" not in output


def test_a_read_only_folder_is_told(undisturbed: Laboratory, small_disk: Path) -> None:
    laboratory = undisturbed.copied(small_disk / "workspace")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        output = laboratory.call("python", "-I", "-m", "tasks.score", code=1)
        assert "the file system is read-only" in output.splitlines()[-1] and "Traceback" not in output
        told = sentence(laboratory.run("--force", code=1))
        assert "read-only" in told.lower()
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert set(outcomes(laboratory.run()).values()) == {"Unchanged"}


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.fixture
def damage(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return {"cut": lambda content: content[: len(content) // 2], "flipped": flip}[request.param]


@pytest.mark.parametrize("damage", ["cut", pytest.param("flipped", marks=thorough)], indirect=True)
def test_damaged_artifacts_are_restored(
    undisturbed: Laboratory, copy: Laboratory, damage: Callable[[bytes], bytes]
) -> None:
    for name in ("model/weights.safetensors", "scores/top.parquet", "data/prepared/train.parquet"):
        path = copy.root / name
        path.write_bytes(damage(path.read_bytes()))
    output = copy.run()
    assert copy.artifacts() == undisturbed.artifacts(), output
    assert "Completed" not in outcomes(output).values()  # DVC's cache has them all


@thorough
def test_without_dvcs_cache_the_stages_run_again(undisturbed: Laboratory, copy: Laboratory) -> None:
    shutil.rmtree(copy.root / ".dvc/cache")
    assert outcomes(copy.run())["score"] == "Completed"
    assert copy.artifacts() == undisturbed.artifacts()
    assert set(outcomes(copy.run()).values()) == {"Unchanged"}


@pytest.mark.parametrize("years", [pytest.param(-30, marks=thorough), 30])
def test_no_time_of_a_file_matters(copy: Laboratory, years: int) -> None:
    """As after a jump of the clock."""
    when = time.time() + years * 31_556_952
    for path in copy.root.rglob("*"):
        if ".git" not in path.parts:
            os.utime(path, (when, when), follow_symlinks=False)
    assert set(outcomes(copy.run()).values()) == {"Unchanged"}


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=thorough)])
def test_asked_to_stop_it_ends_its_children_and_can_go_on(
    undisturbed: Laboratory, blank: Laboratory, number: signal.Signals
) -> None:
    with blank.running() as running:
        running.wait_for("Running stage 'train'")
        family = running.family()
        assert family
        running.process.send_signal(number)
        assert running.end() != 0
        _, alive = psutil.wait_procs(family, timeout=15)
        assert not alive
        assert "Traceback" not in running.output, running.output
    output = blank.run("--target", "train")
    assert outcomes(output)["prepare"] == "Unchanged"
    truth = undisturbed.artifacts()
    assert all(content == truth[name] for name, content in blank.artifacts().items())


def test_two_runs_and_dvc_repro_at_once(undisturbed: Laboratory, copy: Laboratory) -> None:
    for folder in ("curvature", "scores", ".dvc/cache"):
        shutil.rmtree(copy.root / folder)
    commands = [("influence", "run", "--target", "score")] * 2 + [("dvc", "repro", "score")]
    with copy.running(*commands[0]) as first, copy.running(*commands[1]) as second, copy.running(*commands[2]) as third:
        for running in (first, second, third):
            code = running.end()
            last = running.output.strip().splitlines()[-1]
            assert code == 0 or last.startswith(("influence: ", "ERROR: ")), running.output
            assert "Traceback" not in running.output
    copy.run()
    assert copy.artifacts() == undisturbed.artifacts()


@thorough
def test_a_server_gone_in_mid_run_costs_nothing_that_was_done(undisturbed: Laboratory, blank: Laboratory) -> None:
    alone = Laboratory(blank.root)
    with alone.running("influence", "run", "--target", "precondition") as running:
        running.wait_for("Running stage 'train'")
        server = running.find("server")
        assert server is not None
        server.kill()
        if running.end():
            assert "server went away" in sentence(running.output)
        else:
            assert outcomes(running.output)["precondition"] == "Completed"
    assert set(outcomes(blank.run("--target", "precondition")).values()) == {"Unchanged"}
    truth = undisturbed.artifacts()
    assert all(content == truth[name] for name, content in blank.artifacts().items())


@thorough
def test_the_server_of_a_run_dies_with_it(blank: Laboratory) -> None:
    with Laboratory(blank.root).running() as running:
        running.wait_for("Running stage 'prepare'")
        server = running.find("server")
        assert server is not None
        running.process.kill()
        _, alive = psutil.wait_procs([server], timeout=15)
        assert not alive


@thorough
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.97])
def test_a_halved_lock_file_of_dvc_is_mended(undisturbed: Laboratory, copy: Laboratory, share: float) -> None:
    """DVC writes dvc.lock in place: a kill can leave any beginning of it."""
    lock = copy.root / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: int(share * len(whole))])
    output = copy.run()
    assert "Completed" not in outcomes(output).values(), output
    assert copy.artifacts() == undisturbed.artifacts()
    assert lock.read_bytes() == whole
