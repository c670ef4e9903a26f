"""What a crash leaves behind is found, and mended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tasks import doctor
from tasks.artifacts import atomic_write, write_json
from tasks.processes import identity, is_alive
from tasks.tensors import write_tensors

# Dies in the middle of writing a file.
WRITER = "import os, sys; from pathlib import Path; from tasks.artifacts import atomic_write; \
atomic_write(Path(sys.argv[1]), lambda part: (part.write_text('half'), os.kill(os.getpid(), 9)))"


def test_a_file_left_half_written_is_removed_and_one_at_work_is_not(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path / "model/weights")], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "model").iterdir()

    def meanwhile(part: Path) -> None:
        part.write_text("whole")
        (found,) = doctor.half_written(tmp_path)
        assert str(left) in found.problem and part.name not in found.problem
        assert found.mend is not None
        found.mend()

    atomic_write(tmp_path / "model/metrics.json", meanwhile)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["metrics.json"]
    assert list(doctor.half_written(tmp_path)) == []


def test_damaged_artifacts_are_named_and_removed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write_json(model / "metrics.json", {})
    write_tensors(model / "weights.safetensors", {"a": torch.ones(100)})
    pq.write_table(pa.table({"a": list(range(100))}), model / "predictions.parquet")
    assert list(doctor.damaged(tmp_path)) == []
    for path in model.iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    (model / "metrics.json").write_text("{")
    found = list(doctor.damaged(tmp_path))
    assert len(found) == 3 and all("damaged" in one.problem and "\n" not in one.problem for one in found)
    for one in found:
        assert one.mend is not None
        one.mend()
    assert list(model.iterdir()) == []


def test_little_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(doctor.space(tmp_path)) == []
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 2**70)
    (found,) = doctor.space(tmp_path)
    assert found.mend is None and "MiB are free" in found.problem


@pytest.fixture
def orphan(tmp_path: Path) -> int:
    """A process that looks like a stage, in the folder, whose parent has died; it ignores SIGTERM."""
    sleeper = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    (tmp_path / "sleeper").write_text(sleeper)
    starter = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '{tmp_path}/sleeper', '-m', 'tasks.score'], \
stdout=subprocess.PIPE, stderr=subprocess.DEVNULL); p.stdout.readline(); print(p.pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", starter],
        cwd=tmp_path,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_orphan_is_found_and_ended_by_force_if_it_must_be(
    tmp_path: Path, orphan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PATIENCE", 0.3)
    try:
        assert list(doctor.orphans(tmp_path / "elsewhere")) == []
        (found,) = doctor.orphans(tmp_path)
        assert f"process {orphan} runs tasks.score" in found.problem
        assert found.mend is not None
        found.mend()
        deadline = time.monotonic() + 5
        while identity(orphan) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert identity(orphan) is None
    finally:
        if identity(orphan) is not None:
            os.kill(orphan, signal.SIGKILL)


def test_a_stage_with_its_parent_is_no_orphan(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)", "-m", "tasks.score"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert list(doctor.orphans(tmp_path)) == []
        assert is_alive(str(identity(process.pid)))
        process.kill()
