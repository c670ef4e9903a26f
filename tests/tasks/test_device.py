"""Devices by name, and the slot that one process holds at a time."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from tasks.device import candidate_devices, device_slot
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


def take(work: Path, taken: threading.Event) -> threading.Thread:
    def hold() -> None:
        with device_slot("cpu", work):
            taken.set()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    return thread


def test_a_second_holder_waits_until_the_first_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = threading.Event()
    with device_slot("cpu", tmp_path) as device:
        assert device == torch.device("cpu")
        thread = take(tmp_path, taken)
        assert not taken.wait(0.7)
        elsewhere = threading.Event()
        take(tmp_path / "another workspace", elsewhere)
        assert elsewhere.wait(5)
    assert taken.wait(5)
    thread.join()
    assert capsys.readouterr().out == "waiting for a free slot on cpu\n"


def test_a_failure_inside_frees_the_slot(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), device_slot("cpu", tmp_path):
        raise ValueError("inside")
    taken = threading.Event()
    take(tmp_path, taken)
    assert taken.wait(5)


def test_the_lock_can_be_opened_by_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with device_slot("cpu", tmp_path):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "cpu.lock").stat().st_mode & 0o777 == 0o666


@pytest.mark.slow
def test_a_holder_killed_by_the_kernel_frees_the_slot(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        taken = threading.Event()
        take(tmp_path, taken)
        assert not taken.wait(0.7)
        os.kill(holder.pid, signal.SIGKILL)
        assert taken.wait(60)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]
