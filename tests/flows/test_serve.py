"""The pipeline on a schedule, with a real server."""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from toy import Toy
from waiting import LONG, wait_until

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


@contextlib.contextmanager
def serving(root: Path, home: Path, *schedule: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`influence serve` with a server of its own: the process, and the URL of the API."""
    script, log = Path(sys.executable).parent / "influence", home.with_suffix(".log")
    environment = {**os.environ, "PREFECT_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [script, "serve", *schedule, "--name", "often"],
            cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            shown = wait_until(lambda: re.search(r"shows the runs at (http://127\.0\.0\.1:\d+)", log.read_text()))
            wait_until(lambda: "influence: mark dead runs: " in log.read_text() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield process, f"{shown[1]}/api"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.mark.slow
def test_a_served_flow_runs_again_and_again_on_a_server_of_its_own(shadowing: Toy, tmp_path: Path) -> None:
    root = shadowing.root
    with serving(root, tmp_path / "prefect", "--interval", "3") as (_, url):
        runs = wait_until(lambda: len(found := completed(url)) >= 2 and found)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
    assert {run["parameters"]["workspace"] for run in runs} == {str(root)}
    assert shadowing.up_to_date()
    ended = sorted((run["start_time"], run["end_time"]) for run in runs)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(ended)), "runs never overlap"


@LONG
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_after_an_outage_of_several_intervals_one_run_makes_up_for_all(
    toy: Toy, tmp_path: Path, number: signal.Signals
) -> None:
    home, every = tmp_path / "prefect", timedelta(seconds=40)
    with serving(toy.root, home, "--interval", str(every.seconds)) as (process, url):
        wait_until(lambda: completed(url))
        process.send_signal(number)
        process.wait(30)
    down = datetime.now(UTC)
    time.sleep(4 * every.seconds)
    with serving(toy.root, home, "--interval", str(every.seconds)) as (_, url):
        up = datetime.now(UTC)
        first = wait_until(lambda: [run for run in completed(url) if run["start_time"] > up.isoformat()])
        everything = httpx.post(f"{url}/flow_runs/filter", json={}).json()
    missed = [run for run in everything if down.isoformat() < run["expected_start_time"] < up.isoformat()]
    states = sorted(run["state_name"] for run in missed)
    print(f"down for {(up - down).seconds} s: {states}")
    assert len(missed) >= 3 and len(first) == 1
    assert states.count("Completed") == 1 and set(states) <= {"Cancelled", "Completed", "Missed"}


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
