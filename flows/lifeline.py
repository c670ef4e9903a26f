"""Run a Python module in a child process that ends, with all it has started, when its parent ends.

Killing `dvc` leaves the stage it started running, and a SIGKILL cannot be caught to do better. So the child watches a
pipe that its parent holds open: the kernel closes it however the parent dies, and the child kills its own group.
"""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

PATIENCE = 10.0  # seconds between asking a group to end and killing it


class Child:
    """A running `python -m module arguments`, in a process group of its own.

    Args:
        command: the module and its arguments.
        cwd: its working directory.
        env: its environment.
        output: where its standard output and error go: a file, or subprocess.PIPE.
    """

    def __init__(
        self, command: list[str], cwd: Path, env: Mapping[str, str], output: int | IO[str] = subprocess.PIPE
    ) -> None:
        reading, self._writing = os.pipe()
        try:
            # Isolated: packages of the working directory called `flows` or `dvc` must not take the place of ours.
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-m", "flows.lifeline", str(reading), *command],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=[reading],
                start_new_session=True,
            )
        except BaseException:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        """End the whole group if it has not ended by itself."""
        try:
            if self.process.poll() is None:
                self._signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(PATIENCE)
                self._signal(signal.SIGKILL)  # whoever of the group is left
                self.process.wait()
        finally:
            os.close(self._writing)
            if self.process.stdout is not None:
                self.process.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def _end_with_parent(reading: int) -> None:
    os.read(reading, 1)  # returns when the other end is closed
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run as `python -I -m flows.lifeline FILE_DESCRIPTOR MODULE [ARGUMENT ...]`."""
    reading, module = int(sys.argv[1]), sys.argv[2]
    os.set_inheritable(reading, False)
    threading.Thread(target=_end_with_parent, args=[reading], daemon=True).start()
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
