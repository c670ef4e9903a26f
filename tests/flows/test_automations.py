"""What a real server does by itself, and what a webhook on loopback hears of it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from toy import Toy
from waiting import ask, wait_until

from tasks.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """What has been posted to the webhook so far."""
    posts: list[dict[str, str]] = []

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Ear) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("INFLUENCE_WEBHOOK", f"http://127.0.0.1:{server.server_port}/secret")
        yield posts
        server.shutdown()


@pytest.fixture(autouse=True)
def no_automations_left(server: str) -> Iterator[None]:
    """The server is that of all tests."""
    yield
    for automation in ask("POST", f"{server}/automations/filter", json={}):
        ask("DELETE", f"{server}/automations/{automation['id']}")


def test_people_are_told_of_failures_drift_and_falls_of_trust(
    toy: Toy, on_server: str, heard: list[dict[str, str]]
) -> None:
    from flows.alerts import DRIFT, TRUST_FELL, tell
    from flows.automations import set_up
    from flows.launch import launch

    said = set_up()
    assert set_up() == said and "secret" not in " ".join(said)
    names = [row["name"] for row in ask("POST", f"{on_server}/automations/filter", json={})]
    assert len(names) == len(set(names)) == 5, "setting up twice adds nothing"
    toy.command("prepare", "echo 'prepare: row 3 says \"no\"'; exit 1")
    with pytest.raises(UserError):
        launch(toy.root)
    tell(DRIFT, toy.root, 'class "a" is flagged more often')
    tell(TRUST_FELL, toy.root, "LDS fell from 0.60 to 0.20")
    wait_until(lambda: len(heard) >= 3)
    by_event = {post["event"]: post["text"] for post in heard}
    assert by_event["influence.drift"] == 'workspace: class "a" is flagged more often'
    assert by_event["influence.trust-fell"] == "workspace: LDS fell from 0.60 to 0.20"
    failed = by_event["prefect.flow-run.Failed"]
    assert failed.startswith("influence-pipeline ") and failed.endswith('Failed: prepare: row 3 says "no"')


def test_a_run_killed_outright_is_marked_crashed(toy: Toy, on_server: str) -> None:
    from flows.automations import set_up

    set_up(crashed_after=timedelta(seconds=10))  # the least that Prefect takes
    toy.command("prepare", "touch started; sleep 60; cp raw a")
    script = Path(sys.executable).parent / "influence"
    running = subprocess.Popen(
        [script, "run"], cwd=toy.root, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until((toy.root / "started").exists)
    running.send_signal(signal.SIGKILL)
    running.wait()

    def crashed() -> dict[str, Any] | None:
        runs = ask("POST", f"{on_server}/flow_runs/filter", json={"sort": "START_TIME_DESC", "limit": 5})
        own = next(run for run in runs if run["parameters"].get("workspace") == str(toy.root))
        return own["state"] if own["state_type"] == "CRASHED" else None

    assert wait_until(crashed)["message"] == "no heartbeat: its process is gone"


def test_a_webhook_that_is_no_address_is_refused(on_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.automations import set_up

    monkeypatch.setenv("INFLUENCE_WEBHOOK", "token-without-scheme")
    with pytest.raises(UserError, match="INFLUENCE_WEBHOOK must be an address") as refused:
        set_up()
    assert "token" not in str(refused.value)


def test_without_a_server_one_sentence_says_so(
    tmp_path: Path, influence: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    from flows.server import free_port

    url = f"http://127.0.0.1:{free_port(0)}/api"
    for variables, sentence in (({}, "set PREFECT_API_URL"), ({"PREFECT_API_URL": url}, f"server at {url} does not")):
        failed = influence(tmp_path, "automate", **variables)
        assert failed.returncode == 1 and sentence in failed.stderr.splitlines()[-1]
        assert "Traceback" not in failed.stderr
