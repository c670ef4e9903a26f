"""How much memory a piece of work took, as the system that holds it tells."""

from pathlib import Path

import torch

STATUS = Path("/proc/self/status")


class PeakMemory:
    """Bytes by which memory rises above what is held when this is made.

    On an accelerator, of torch's allocator, whose own record of the peak starts anew. On the CPU, of the whole process:
    a record that cannot be started anew without hiding it from others, so that where the process has held more before,
    the growth is told as at most what it then was.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before: int | None = torch.cuda.memory_allocated(device)
        else:
            self._before = _resident("VmRSS")

    def growth(self) -> int | None:
        """Bytes from then until now at the peak; None where the system does not tell."""
        if self.device.type == "cuda":
            peak: int | None = torch.cuda.max_memory_allocated(self.device)
        else:
            peak = _resident("VmHWM")
        return None if peak is None or self._before is None else max(0, peak - self._before)


def _resident(field: str) -> int | None:
    """A number of bytes that Linux keeps of this process."""
    if not STATUS.exists():
        return None
    found = (line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{field}:"))
    line = next(found, None)
    return None if line is None else int(line.split()[1]) * 1024
