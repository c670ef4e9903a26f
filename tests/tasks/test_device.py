"""Devices by name, and the slot that one process holds at a time."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from tasks import device as devices
from tasks.device import candidate_devices, device_slot, gpus_lent
from tasks.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from tasks.device import device_slot
with device_slot("cpu", Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("name", ["gpu", "", "cpu:", "mps", "cuda:999"])
def test_names_of_no_device_here(name: str) -> None:
    with pytest.raises(UserError, match=rf"`compute\.device`: '{name}' (is not|was asked for, but this machine has)"):
        candidate_devices(name)


def test_auto_prefers_the_gpus() -> None:
    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    assert candidate_devices("auto") == (gpus or [torch.device("cpu")])
    assert candidate_devices("cpu") == [torch.device("cpu")]


def test_a_second_holder_waits_until_the_first_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with device_slot("cpu", tmp_path) as device:
        assert device == torch.device("cpu")
        thread, taken = wait_for("cpu", tmp_path)
        assert not taken.wait(0.7)
        _, elsewhere = wait_for("cpu", tmp_path / "another workspace")
        assert elsewhere.wait(5)
    assert taken.wait(5)
    thread.join()
    assert capsys.readouterr().out == "waiting for a free slot on cpu\n"


def test_a_failure_inside_frees_the_slot(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), device_slot("cpu", tmp_path):
        raise ValueError("inside")
    _, taken = wait_for("cpu", tmp_path)
    assert taken.wait(5)


def test_the_lock_can_be_opened_by_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with device_slot("cpu", tmp_path):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "cpu.lock").stat().st_mode & 0o777 == 0o666


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Pretended: what holds a slot is a file, whatever the device."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices, "gpu_identity", lambda gpu: f"number-{gpu.index}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return [torch.device("cuda", 0), torch.device("cuda", 1)]


def test_each_gpu_has_one_slot(two_gpus: list[torch.device], tmp_path: Path) -> None:
    first, second = two_gpus
    with device_slot("cuda", tmp_path) as one, device_slot("auto", tmp_path / "another workspace") as other:
        assert (one, other) == (first, second)
        thread, taken = wait_for("cuda", tmp_path)
        assert not taken.wait(0.7)
    thread.join(5)
    assert taken.is_set()
    with device_slot("cuda", tmp_path, first=second) as device:
        assert device == second
    assert {path.name for path in (tmp_path / "influence-slots").iterdir()} == {
        "gpu-number-0.lock",
        "gpu-number-1.lock",
    }


def test_a_gpu_is_lent_while_its_holder_waits_for_others(two_gpus: list[torch.device], tmp_path: Path) -> None:
    with device_slot("cuda:0", tmp_path):
        with gpus_lent():
            thread, taken = wait_for("cuda:0", tmp_path)
            assert taken.wait(5)
            thread.join()
        _, taken = wait_for("cuda:0", tmp_path)  # it has the slot again
        assert not taken.wait(0.7)
    assert taken.wait(5)


def wait_for(name: str, work: Path) -> tuple[threading.Thread, threading.Event]:
    """A thread that takes a slot as soon as it can, and gives it back."""
    taken = threading.Event()

    def hold() -> None:
        with device_slot(name, work):
            taken.set()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    return thread, taken


@pytest.mark.slow
def test_a_holder_killed_by_the_kernel_frees_the_slot(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        _, taken = wait_for("cpu", tmp_path)
        assert not taken.wait(0.7)
        os.kill(holder.pid, signal.SIGKILL)
        assert taken.wait(60)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]
