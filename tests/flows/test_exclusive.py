"""One run of a workspace at a time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.exclusive import WorkspaceBusy, only_run

HOLD = "import sys, time; from flows.exclusive import *; lock = only_run(Path(sys.argv[1])); lock.__enter__(); print('held', flush=True); time.sleep(60)"  # noqa: E501


def test_the_second_run_is_told_of_the_first(tmp_path: Path) -> None:
    with only_run(tmp_path):
        with pytest.raises(WorkspaceBusy) as busy, only_run(tmp_path):
            pass
        assert f"another run is at work in {tmp_path} (process {os.getpid()}): wait for its end" in str(busy.value)
        with only_run(tmp_path / "other"):
            pass
    with only_run(tmp_path):
        pass


def test_a_killed_run_holds_nothing_and_its_children_neither(tmp_path: Path) -> None:
    script = HOLD.replace("print(", "import subprocess; subprocess.Popen(['sleep', '5']); print(")
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(WorkspaceBusy, match=f"process {holder.pid}"), only_run(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    start = time.monotonic()
    with only_run(tmp_path):
        assert time.monotonic() - start < 1
    holder.stdout.close()
