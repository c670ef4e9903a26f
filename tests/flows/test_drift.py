"""Drift in the report's metrics, and who hears of it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from toy import Toy
from waiting import wait_until

from flows.drift import drift
from flows.summary import summarise
from tasks.artifacts import write_json
from tasks.workspace import Workspace

Influence = Callable[..., subprocess.CompletedProcess[str]]
WORDS = ["The class <b> drifted.", "The test accuracy fell."]


def drifting(toy: Toy) -> None:
    """Let the toy's report find drift."""
    (toy.root / "found.json").write_text(json.dumps({"drift": [{"words": words} for words in WORDS]}))
    toy.command("report", "mkdir -p report && cat b > report/index.html && cp found.json report/metrics.json")


def test_alerts_are_read_from_the_reports_metrics(tmp_path: Path) -> None:
    assert drift(tmp_path) == []
    write_json(Workspace(tmp_path).report_metrics, {"planted": 0})
    assert drift(tmp_path) == []
    write_json(Workspace(tmp_path).report_metrics, {"drift": [{"words": words} for words in WORDS]})
    assert drift(tmp_path) == WORDS
    assert summarise(tmp_path, {"report": "Completed"}).facts == [("Drift", words) for words in WORDS]


@pytest.mark.slow
def test_the_server_hears_of_drift_once(toy: Toy, on_server: str) -> None:
    from flows.alerts import DRIFT
    from flows.launch import launch

    def told() -> list[dict[str, Any]]:
        found = httpx.post(f"{on_server}/events/filter", json={"filter": {"event": {"name": [DRIFT]}}}).json()
        return [event for event in found["events"] if event["payload"]["workspace"] == str(toy.root)]

    drifting(toy)
    launch(toy.root)
    wait_until(lambda: len(told()) == 1)
    assert told()[0]["payload"]["message"] == " ".join(WORDS)
    assert told()[0]["resource"]["prefect.resource.name"] == toy.root.name
    assert launch(toy.root)["report"] == "Unchanged"
    toy.parameters(report={"title": "y"})
    launch(toy.root)
    wait_until(lambda: len(told()) == 2)  # had the unchanged run told of it too, there would be three


@pytest.mark.slow
def test_whoever_asks_gets_an_exit_code_of_its_own(toy: Toy, on_server: str, influence: Influence) -> None:
    drifting(toy)
    assert influence(toy.root, "run").returncode == 0
    failed = influence(toy.root, "run", "--fail-on-drift")
    assert failed.returncode == 3 and WORDS[0] in failed.stdout
    (toy.root / "report/metrics.json").write_text("{}")
    assert influence(toy.root, "run", "--fail-on-drift").returncode == 0
