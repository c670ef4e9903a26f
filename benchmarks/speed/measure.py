"""What a job costs, measured inside its own process. Nothing but the standard library, and Linux."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Of one job, without what came before it (imports, data, model).

    Attributes:
        cpu: seconds of user and system time of the whole process, all threads, while the job ran.
        wall: seconds that passed.
        before: bytes resident when the job began.
        peak: largest number of bytes resident while it ran.
    """

    cpu: float
    wall: float
    before: int
    peak: int

    @property
    def added(self) -> int:
        """Bytes that the job took at its peak, beyond what was there before."""
        return self.peak - self.before


def measured(job: Callable[[], T]) -> tuple[T, Cost]:
    """What a job returns, and its cost.

    Raises:
        OSError: the kernel does not tell or reset the peak of resident memory.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew from what is resident now
    before, cpu, wall = _resident("VmRSS"), time.process_time(), time.perf_counter()
    answer = job()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return answer, Cost(cpu, wall, before, _resident("VmHWM"))


def report(cost: Cost) -> None:
    """Hand a cost to the process that started this one: the last line printed."""
    print(json.dumps(asdict(cost)), flush=True)


def read_report(printed: str) -> Cost:
    """The cost that a job's process reported."""
    return Cost(**json.loads(printed.strip().splitlines()[-1]))


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}: peaks are measured on Linux only")
