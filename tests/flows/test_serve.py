"""The pipeline on a schedule, with a real server."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from toy import Toy

from flows.serve import serve
from flows.server import free_port, local_server
from tasks.errors import UserError


@pytest.fixture
def shadowing(toy: Toy) -> Toy:
    """A repository with packages of its own that are called like ours."""
    for name in ("flows", "tasks"):
        (toy.root / name).mkdir()
        (toy.root / name / "__init__.py").write_text("raise SystemExit('shadowed')")
    return toy


@pytest.mark.slow
def test_a_served_flow_runs_again_and_again_on_a_server_of_its_own(shadowing: Toy, tmp_path: Path) -> None:
    root = shadowing.root
    script, log = Path(sys.executable).parent / "influence", tmp_path / "serve.log"
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        serving = subprocess.Popen(
            [script, "serve", "--interval", "3", "--name", "often"],
            cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        try:
            runs: list[dict[str, Any]] = []
            while len(runs) < 2:
                assert serving.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
                if shown := re.search(r"shows the runs at (http://127\.0\.0\.1:\d+)", log.read_text()):
                    runs = completed(f"{shown[1]}/api")
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait(30)
    assert shown is not None
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{shown[1]}/api/health")
    assert "influence: mark dead runs: " in log.read_text()
    assert {run["parameters"]["workspace"] for run in runs} == {str(root)}
    assert shadowing.up_to_date()
    ended = sorted((run["start_time"], run["end_time"]) for run in runs)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(ended)), "runs never overlap"


def completed(server: str, deployment: str = "often") -> list[dict[str, Any]]:
    wanted = {
        "deployments": {"name": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    return httpx.post(f"{server}/flow_runs/filter", json=wanted).json()


def test_exactly_one_sound_schedule_is_wanted(toy: Toy) -> None:
    for cron, interval in ((None, None), ("0 3 * * 1", 5.0)):
        with pytest.raises(UserError, match="give --cron"):
            serve(toy.root, cron, interval, "x")
    with pytest.raises(UserError, match="'never' is not a cron schedule"):
        serve(toy.root, "never", None, "x")
    with pytest.raises(UserError, match="'hourly' is not a cron schedule"):
        serve(toy.root, None, 5.0, "x", explain="hourly")
    for interval in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="at least 1 second"):
            serve(toy.root, None, interval, "x")


def test_a_workspace_is_checked_before_it_is_served(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no dvc\.yaml"):
        serve(tmp_path, None, 5.0, "x")


def test_a_taken_port_is_not_taken_again() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port


def test_a_server_that_cannot_start_is_named_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "nonsense")
    with pytest.raises(UserError, match=r"did not start: see .*server\.log"), local_server(tmp_path / "home", port=0):
        pass
    assert (tmp_path / "home/server.log").read_text()
