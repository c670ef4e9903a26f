"""One stage as a process of its own, under a limit of memory: what it took, and how long it kept silent. Linux only."""

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

POLL = 0.05  # seconds between two looks at the process
LOOKS = 20  # between two counts of the files


class StageFailedError(Exception):
    """A stage ended with an error; the message holds its last lines."""


@dataclass(frozen=True)
class Cost:
    """What one stage took.

    Attributes:
        stage: its name.
        cpu: seconds of user and system time, all threads.
        wall: seconds that passed.
        peak: largest number of bytes resident.
        written: bytes handed to the kernel to be written, the shards of `.work` included.
        kept: bytes of all files of the workspace when it had ended, the source table left out.
        files: the most files that the workspace held meanwhile.
        silence: the longest time between two lines that it printed, seconds.
    """

    stage: str
    cpu: float
    wall: float
    peak: int
    written: int
    kept: int
    files: int
    silence: float


def run_stage(stage: str, workspace: Path, table: Path, limit: int, threads: int) -> Cost:
    """Run `python -I -m tasks.STAGE` in a workspace, with so much address space and no more (RLIMIT_AS).

    Raises:
        StageFailedError: the stage failed, for lack of memory or for another reason.
    """
    before = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", f"tasks.{stage}"],
        cwd=workspace,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    watcher = _Watcher(process.pid, workspace)
    watcher.start()
    assert process.stdout is not None
    lines: list[str] = []
    silence, last = 0.0, before
    for line in process.stdout:
        now = time.monotonic()
        silence, last = max(silence, now - last), now
        lines = [*lines[-20:], line]
        print(f"    {line}", end="", flush=True)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.stop()
    if process.returncode:
        raise StageFailedError(f"{stage} ended with {process.returncode}:\n{''.join(lines)}")
    kept = [file.stat().st_size for file in _files(workspace) if file != table]
    silence = max(silence, before + wall - last)
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(stage, cpu, wall, watcher.peak, watcher.written, sum(kept), watcher.files, silence)


class _Watcher(threading.Thread):
    """Keeps what the kernel tells of a process while it lives: its peak is not to be asked for afterwards."""

    def __init__(self, process: int, workspace: Path) -> None:
        super().__init__(daemon=True)
        self.peak = self.written = self.files = 0
        self._of, self._workspace, self._ended = Path(f"/proc/{process}"), workspace, threading.Event()

    def run(self) -> None:
        look = 0
        while not self._ended.wait(POLL):
            with contextlib.suppress(OSError, KeyError):  # it has just ended
                self.peak = _field(self._of / "status", "VmHWM") * 1024
                self.written = _field(self._of / "io", "wchar")
            if look % LOOKS == 0:
                self.files = max(self.files, len(_files(self._workspace)))
            look += 1

    def stop(self) -> None:
        self._ended.set()
        self.join()
        self.files = max(self.files, len(_files(self._workspace)))


def _field(file: Path, name: str) -> int:
    """A number that the kernel tells as `name: number`; KeyError where it does not."""
    told = dict(line.split(":", 1) for line in file.read_text(encoding="ascii").splitlines())
    return int(told[name].split()[0])


def _files(folder: Path) -> list[Path]:
    return [Path(root, name) for root, _, names in os.walk(folder) for name in names]
