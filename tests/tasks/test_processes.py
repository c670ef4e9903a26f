"""Processes that live, have ended, or have lost their parent; and who holds a lock."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.processes import identity, is_alive, is_orphan, living, lock_holders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_process_has_one_name_while_it_lives(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        name = identity(process.pid)
        assert name is not None and name == identity(process.pid) and is_alive(name)
        assert [found.name for found in living() if found.folder == tmp_path] == [name]
        assert not is_orphan(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
        assert identity(process.pid) is None and not is_alive(name)
    assert identity(process.pid) is None


def test_a_number_that_was_given_again_is_not_the_same_process() -> None:
    number, _, start = str(identity(os.getpid())).partition("-")
    assert not is_alive(f"{number}-{int(start) - 1}")
    assert not is_alive("") and not is_alive("x-1")


def test_the_holder_of_a_lock_is_found(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_holders(path) == []
    with path.open("w") as file:
        assert lock_holders(path) == []
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_holders(path) == [os.getpid()]
    assert lock_holders(path) == []
