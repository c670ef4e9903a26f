"""Past one worker the Prefect server keeps its data in PostgreSQL: two workers and 200 task runs."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from deployed import Deployed
from postgresql import binaries, database
from toy import Toy
from waiting import LONG, wait_until

pytestmark = [
    pytest.mark.slow,
    LONG,
    pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed: apt-get install postgresql"),
]
RUNS, SHARDS = 4, 50  # and three stages a run: 212 task runs
SHARDED = f"""
import os, time
from pathlib import Path
from tasks.objects import load_object

def compute(shard):
    time.sleep(0.02)

shards = [f"{{n:04}}" for n in range({SHARDS})]
load_object(os.environ["INFLUENCE_SHARD_RUNNER"], "runner")("prepare", shards, compute)
Path("a").write_text("done")
"""


def test_two_workers_share_the_runs_and_every_task_run_is_recorded(
    pattern: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.server import local_server

    with database() as url:
        monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", url)
        with local_server(tmp_path / "home", port=0) as server:
            monkeypatch.delenv("PREFECT_SERVER_DATABASE_CONNECTION_URL")  # workers and runs know the server alone
            deployed = [_deploy(pattern, tmp_path / f"{number}", server, number) for number in range(RUNS)]
            workers = deployed[:2]
            try:
                for worker in workers:
                    worker.start_worker()
                start = time.monotonic()
                runs = [each.start() for each in deployed]
                ended = [each.ends(run, 400) for each, run in zip(deployed, runs, strict=True)]
                print(f"{RUNS} runs took {time.monotonic() - start:.0f} s")
                recorded = wait_until(lambda: _recorded(workers[0], runs), 300)
                print(f"{len(recorded)} task runs were recorded {time.monotonic() - start:.0f} s after the start")
            finally:
                for worker in workers:
                    worker.kill_worker()
    assert not (tmp_path / "home/prefect.db").exists(), "SQLite's file"
    assert {run["state_type"] for run in ended} == {"COMPLETED"}
    assert {task["state_type"] for task in recorded} == {"COMPLETED"}
    did = [(worker.toy.root.parent / "worker.log").read_text().count("Beginning flow run") for worker in workers]
    assert sum(did) == RUNS and all(did), did


def _deploy(pattern: Path, folder: Path, server: str, number: int) -> Deployed:
    shutil.copytree(pattern, folder / "workspace")
    toy = Toy(folder / "workspace")
    (toy.root / "sharded.py").write_text(SHARDED)
    toy.command("prepare", "python -I sharded.py")
    deployed = Deployed(toy, server, f"nightly-{number}")
    if number == 0:
        deployed.prefect("work-pool", "create", "influence", "--type", "process")
    deployed.prefect("deploy", "--name", deployed.name)
    return deployed


def _recorded(deployed: Deployed, runs: list[str]) -> list[dict[str, Any]]:
    """All task runs, once the server, which learns of them from events, has the end of each; else none."""
    found: list[dict[str, Any]] = []
    for run in runs:
        found += deployed.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}, "limit": 200})
    ended = [task for task in found if task["state_type"] in ("COMPLETED", "FAILED", "CRASHED")]
    return ended if len(ended) == RUNS * (SHARDS + 3) else []
