"""Progress of long work, as lines: a log, a terminal and Prefect's page all show them."""

import time

from tasks import journal


class Progress:
    """Prints done, rate and time left, at most once every `interval` seconds.

    Args:
        name: the stage or the part of it.
        total: how many units there are to do.
        unit: what is counted.
        done: units that an earlier, killed run had finished; they do not count for the rate.
    """

    def __init__(self, name: str, total: int, unit: str = "examples", done: int = 0, interval: float = 2.0) -> None:
        self.name, self.total, self.unit, self.interval = name, total, unit, interval
        self.done = self._start_count = done
        self._start = self._last = time.monotonic()

    def advance(self, count: int, note: str = "") -> None:
        self.done += count
        now = time.monotonic()
        if now - self._last >= self.interval:
            self._last = now
            self._print(now, note)

    def _print(self, now: float, note: str) -> None:
        rate = (self.done - self._start_count) / max(now - self._start, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        share = self.done / self.total if self.total else 1.0
        print(
            f"{self.name}: {self.done:,} of {self.total:,} {self.unit} ({share:.0%}), "
            f"{_speed(rate)} {self.unit}/s, {_clock(left)} left{', ' + note if note else ''}",
            flush=True,
        )
        journal.record("progress", part=self.name, done=self.done, total=self.total, unit=self.unit, rate=rate)


class StepProgress:
    """Progress of an iterative solver, whose number of steps nobody knows before: the time left is a bound.

    Args:
        examples: how many examples one step multiplies each vector by.
        steps: the most there can be.
    """

    def __init__(self, examples: int, steps: int, interval: float = 2.0) -> None:
        self.examples, self.steps, self.interval = examples, steps, interval
        self._start = self._last = time.monotonic()
        self._done = self._products = 0

    def step(self, vectors: int) -> None:
        """Count one step, in which so many vectors took part."""
        self._done, self._products = self._done + 1, self._products + vectors
        now = time.monotonic()
        if now - self._last >= self.interval:
            self._last = now
            elapsed = now - self._start
            rate, left = self._products * self.examples / elapsed, elapsed / self._done * (self.steps - self._done)
            print(
                f"solver: step {self._done}, {vectors} queries to go, {rate:,.0f} examples x queries/s, "
                f"at most {_clock(max(left, 0.0))} left",
                flush=True,
            )


def _speed(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
