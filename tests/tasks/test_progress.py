"""What progress prints."""

import pytest

from tasks.progress import Progress


@pytest.mark.parametrize(
    ("seconds", "speed"), [(0.01, "300 images/s, 0:00 left"), (2.0, "1.5 images/s"), (20.0, "0.15 images/s, 0:47 left")]
)
def test_a_slow_rate_is_not_rounded_to_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float, speed: str
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = Progress("audit", 10, "images", interval=0)
    clock[0] += seconds
    progress.advance(3, "note")
    printed = capsys.readouterr().out
    assert printed.startswith("audit: 3 of 10 images (30%), ") and printed.endswith(", note\n")
    assert speed in printed
