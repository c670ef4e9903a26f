"""What a run tells when its scores can be trusted less than those of the run before."""

from pathlib import Path
from typing import Any

import pytest

from flows import alerts
from tasks.artifacts import write_json
from tasks.workspace import Workspace


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    events: list[tuple[str, str]] = []
    monkeypatch.setattr(alerts, "tell", lambda event, root, message: events.append((event, message)))
    return events


def validate(root: Path, value: float) -> None:
    scores = {"influence": {"value": value, "low": value - 0.1, "high": value + 0.1}}
    found: dict[str, Any] = {"method": "retraining", "scores": scores, "warnings": []}
    write_json(Workspace(root).validation_metrics, found)


def test_a_fall_is_told_once(tmp_path: Path, told: list[tuple[str, str]]) -> None:
    assert alerts.tell_if_trust_fell(tmp_path) is None, "nothing was validated"
    for value in (0.6, 0.62, 0.2, 0.2, 0.6):
        validate(tmp_path, value)
        alerts.tell_if_trust_fell(tmp_path)
    ((event, message),) = told
    assert event == "influence.trust-fell"
    assert message.endswith("fell from 0.62 (0.52 to 0.72) to 0.20 (0.10 to 0.30)")
