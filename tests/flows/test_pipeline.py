"""The flow on a real Prefect server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from toy import Toy

from flows.dvc_runner import stage_environment
from tasks.errors import UserError

pytestmark = pytest.mark.slow
Influence = Callable[..., subprocess.CompletedProcess[str]]
ALL = ("prepare", "train", "report")


@pytest.fixture
def launch(on_server: str) -> Callable[..., dict[str, str]]:
    from flows.launch import launch

    return launch


def task_runs(server: str, **flow_run: Any) -> list[dict[str, Any]]:
    """Task runs once the server has recorded them all, which it does with a delay."""
    for _ in range(60):
        answer = httpx.post(f"{server}/task_runs/filter", json={"flow_runs": flow_run, "sort": "ID_DESC"}).json()
        if answer and all(run["state_type"] in ("COMPLETED", "FAILED") for run in answer):
            return answer
        time.sleep(0.5)
    raise AssertionError(f"not recorded: {answer}")


def last_flow_run(server: str, workspace: Path) -> dict[str, Any]:
    runs = httpx.post(f"{server}/flow_runs/filter", json={"sort": "START_TIME_DESC", "limit": 50}).json()
    return next(run for run in runs if run["parameters"].get("workspace") == str(workspace))


def test_dvc_and_the_flow_share_one_truth(toy: Toy, launch: Callable[..., dict[str, str]]) -> None:
    assert launch(toy.root) == dict.fromkeys(ALL, "Completed")
    assert toy.up_to_date()
    assert "Running" not in toy.dvc("repro")
    assert launch(toy.root) == dict.fromkeys(ALL, "Unchanged")
    toy.parameters(train={"epochs": 4})
    toy.dvc("repro")
    assert launch(toy.root) == dict.fromkeys(ALL, "Unchanged")


def test_a_changed_parameter_reruns_the_stages_below_it(toy: Toy, launch: Callable[..., dict[str, str]]) -> None:
    toy.command("train", "cat a a > b; grep epochs params.yaml >> b")
    launch(toy.root)
    toy.parameters(train={"epochs": 4})
    assert launch(toy.root) == {"prepare": "Unchanged", "train": "Completed", "report": "Completed"}
    toy.parameters(train={"epochs": 3})
    assert launch(toy.root) == {"prepare": "Unchanged", "train": "Restored", "report": "Restored"}
    assert launch(toy.root, targets=["train"], force=True) == {"prepare": "Completed", "train": "Completed"}


def test_equal_bytes_stop_a_change(toy: Toy, launch: Callable[..., dict[str, str]]) -> None:
    launch(toy.root)
    toy.parameters(train={"epochs": 4})
    assert launch(toy.root) == {"prepare": "Unchanged", "train": "Completed", "report": "Unchanged"}


def test_the_page_shows_states_logs_and_artifacts(
    toy: Toy, on_server: str, launch: Callable[..., dict[str, str]]
) -> None:
    launch(toy.root, targets=["prepare"])
    launch(toy.root)
    run = last_flow_run(on_server, toy.root)
    states = {task["name"]: task["state_name"] for task in task_runs(on_server, id={"any_": [run["id"]]})}
    assert states == {"prepare": "Unchanged", "train": "Completed", "report": "Completed"}
    summary = httpx.get(f"{on_server}/artifacts/influence-summary/latest").json()
    assert summary["flow_run_id"] == run["id"]
    assert "| train | Completed |" in summary["data"]
    link = httpx.get(f"{on_server}/artifacts/influence-report/latest").json()
    assert (toy.root / "report/index.html").as_uri() in link["data"]


def test_a_failing_stage_ends_the_run_with_its_sentence(
    toy: Toy, on_server: str, launch: Callable[..., dict[str, str]]
) -> None:
    toy.command("train", "echo 'train: the loss is not finite: lower `train.learning_rate`'; exit 1")
    with pytest.raises(UserError, match=r"^train: the loss is not finite: lower `train.learning_rate`$"):
        launch(toy.root)
    run = last_flow_run(on_server, toy.root)
    assert run["state_type"] == "FAILED"
    tasks = task_runs(on_server, id={"any_": [run["id"]]})
    assert {task["name"]: task["state_name"] for task in tasks} == {"prepare": "Completed", "train": "Failed"}
    assert {task["run_count"] for task in tasks} == {1}, "trying again would not have helped"


def test_a_busy_stage_is_tried_again(
    toy: Toy, on_server: str, launch: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import pipeline

    monkeypatch.setattr(pipeline.run_stage, "retry_delay_seconds", [2.0])
    toy.command("prepare", "touch started; sleep 3; cp raw a")
    other = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "-s", "prepare"],
        cwd=toy.root, env=stage_environment(), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not (toy.root / "started").exists():
        time.sleep(0.05)
    assert launch(toy.root, targets=["prepare"]) == {"prepare": "Unchanged"}
    assert other.wait() == 0
    run = last_flow_run(on_server, toy.root)
    assert [task["run_count"] > 1 for task in task_runs(on_server, id={"any_": [run["id"]]})] == [True]


def test_push_uploads_the_outputs(toy: Toy, tmp_path: Path, launch: Callable[..., dict[str, str]]) -> None:
    with pytest.raises(UserError, match="--push: no DVC remote"):
        launch(toy.root, push=True)
    toy.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    launch(toy.root, push=True)
    assert "in sync" in toy.dvc("status", "--cloud")


def test_the_command_prints_the_summary_and_a_failure_as_one_line(
    toy: Toy, on_server: str, influence: Influence
) -> None:
    done = influence(toy.root, "run")
    assert done.returncode == 0, done.stderr
    assert "prepare reads" in done.stderr, "logs are streamed"
    assert all(stage in done.stdout for stage in ALL)
    assert str(toy.root / "report/index.html") in done.stdout
    assert toy.up_to_date()
    toy.command("train", "echo 'train: out of paper'; exit 1")
    failed = influence(toy.root, "run")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == "influence: train: out of paper"
    assert "Traceback" not in failed.stderr


def test_a_killed_flow_leaves_nothing_running_and_the_next_run_ends_well(
    toy: Toy, on_server: str, influence: Influence
) -> None:
    toy.command("prepare", "touch started; sleep 2; cp raw a; touch finished")
    script = Path(sys.executable).parent / "influence"
    running = subprocess.Popen([script, "run"], cwd=toy.root, env=dict(os.environ), stderr=subprocess.DEVNULL)
    while not (toy.root / "started").exists():
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    time.sleep(3)
    assert not (toy.root / "finished").exists()
    toy.command("prepare", "cp raw a")
    assert influence(toy.root, "run").returncode == 0
    assert toy.up_to_date()


def test_a_server_that_does_not_answer_is_named(toy: Toy, influence: Influence) -> None:
    from flows.server import free_port

    failed = influence(toy.root, "run", PREFECT_API_URL=f"http://127.0.0.1:{free_port(0)}/api")
    assert failed.returncode == 1
    assert "Failed to reach API" in failed.stderr.splitlines()[-1] and "`dvc repro`" in failed.stderr.splitlines()[-1]


def test_without_a_server_the_command_brings_its_own(toy: Toy, influence: Influence) -> None:
    done = influence(toy.root, "run")
    assert done.returncode == 0, done.stderr
    assert toy.up_to_date()


SHARDED = """
import os
from pathlib import Path
from tasks.objects import load_object

def compute(shard):
    with open("a", "a") as file:
        file.write(shard)

load_object(os.environ["INFLUENCE_SHARD_RUNNER"], "runner")("prepare", [f"{n:04}" for n in range(3)], compute)
"""


def test_shards_show_under_their_stage(toy: Toy, on_server: str, launch: Callable[..., dict[str, str]]) -> None:
    (toy.root / "sharded.py").write_text(SHARDED)
    toy.command("prepare", "python -I sharded.py")
    assert launch(toy.root, targets=["prepare"]) == {"prepare": "Completed"}
    assert (toy.root / "a").read_text() == "000000010002"
    run = last_flow_run(on_server, toy.root)
    for _ in range(60):  # their events come from another process
        tasks = {task["name"]: task for task in task_runs(on_server, id={"any_": [run["id"]]})}
        if len(tasks) == 4:
            break
        time.sleep(0.5)
    assert sorted(tasks) == ["prepare", "prepare 0000", "prepare 0001", "prepare 0002"]
    parents = [tasks[f"prepare 000{n}"]["task_inputs"]["__parents__"] for n in range(3)]
    assert all(parent[0]["id"] == tasks["prepare"]["id"] for parent in parents)


def test_an_error_in_a_shard_is_the_stages_own(toy: Toy, launch: Callable[..., dict[str, str]]) -> None:
    broken = SHARDED.replace("    with", "    if shard == '0001': raise ValueError('shard is bad')\n    with")
    (toy.root / "sharded.py").write_text(broken)
    toy.command("prepare", "python -I sharded.py")
    with pytest.raises(UserError, match="prepare: ValueError: shard is bad"):
        launch(toy.root, targets=["prepare"])
