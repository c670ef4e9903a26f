"""The deployments of prefect.yaml on a real server and a real worker of a process work pool."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from deployed import Deployed
from toy import Toy
from waiting import LONG, wait_until

pytestmark = pytest.mark.slow
WAIT = "echo $$ > stage_pid; while [ ! -e go ]; do sleep 0.1; done; cp raw a"  # a stage that ends when told to


@pytest.fixture(scope="module")
def deployed(pattern: Path, server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    root = tmp_path_factory.mktemp("deployed") / "workspace"
    shutil.copytree(pattern, root)
    for name in ("flows", "tasks"):  # a repository with packages of its own that are called like ours
        (root / name).mkdir()
        (root / name / "__init__.py").write_text("raise SystemExit('shadowed')")
    deployed = Deployed(Toy(root), server)
    deployed.prefect("work-pool", "create", "influence", "--type", "process")
    deployed.prefect("deploy", "--all")
    yield deployed
    if deployed.worker is not None:
        deployed.kill_worker()


@pytest.fixture
def working(deployed: Deployed) -> Deployed:
    if deployed.worker is None:
        deployed.start_worker()
    return deployed


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_both_deployments_are_scheduled(deployed: Deployed) -> None:
    for name, flow, cron in (
        ("nightly", "influence-pipeline", "0 2 * * *"),
        ("hourly", "influence-explain", "30 * * * *"),
    ):
        found = deployed.deployment(name, flow)
        assert [row["schedule"]["cron"] for row in found["schedules"] if row["active"]] == [cron]
        assert found["global_concurrency_limit"]["limit"] == 1


def test_runs_missed_while_no_worker_was_there_are_made_up_for_by_one(deployed: Deployed) -> None:
    nightly = deployed.deployment()["id"]
    deployed.post(f"deployments/{nightly}/schedules", [{"active": True, "schedule": {"interval": 4}}])

    def overdue() -> list[str]:
        now = datetime.now(UTC).isoformat()
        runs = deployed.post("flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [nightly]}}})
        return [run["id"] for run in runs if run["expected_start_time"] < now]

    missed = wait_until(lambda: len(overdue()) >= 3 and overdue())
    deployed.start_worker()
    ended = [deployed.ends(run) for run in missed]
    deployed.post(f"deployments/{nightly}/pause_deployment")
    (made_up_for,) = [run for run in ended if run["state_type"] == "COMPLETED"]
    others = [run for run in ended if run is not made_up_for]
    assert {run["state_type"] for run in others} == {"CANCELLED"}
    # Some were picked up by the worker before the run could cancel them.
    told = {run["state"]["message"] for run in others}
    assert told <= {f"the run {made_up_for['name']} stands for it", "Deployment concurrency limit reached."}
    assert deployed.toy.up_to_date()


def test_one_run_at_a_time_and_a_cancelled_one_leaves_nothing_running(
    working: Deployed, influence: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    working.reset(WAIT)
    first = working.start()
    stage = psutil.Process(working.stage_at_work())
    family = [stage, *stage.parents()[:2]]  # dvc and what holds its group
    # As another worker would: this one has a limit of its own.
    second = working.post(f"flow_runs/{working.start()}/set_state", {"state": {"type": "PENDING"}})
    assert (second["status"], second["state"]["type"]) == ("REJECT", "CANCELLED")
    assert "concurrency limit reached" in second["state"]["message"]
    beside = influence(working.toy.root, "run", PREFECT_API_URL=working.server)
    assert beside.returncode == 1
    assert "influence: another run is at work in " in beside.stderr.splitlines()[-1]
    repro = working.toy.dvc("repro", "--single-item", "prepare", check=False)
    assert "busy" in repro and "Traceback" not in repro
    working.post(f"flow_runs/{first}/set_state", {"state": {"type": "CANCELLING"}})
    assert working.ends(first)["state_type"] == "CANCELLED"
    wait_until(lambda: not any(map(alive, family)))
    assert not (working.toy.root / "a").exists()


def test_a_run_that_finds_the_workspace_taken_is_skipped(toy: Toy, on_server: str) -> None:
    from flows.exclusive import only_run
    from flows.explain_new import explain_new
    from flows.pipeline import pipeline

    for flow in (pipeline, explain_new):
        with only_run(toy.root):
            state = flow(str(toy.root), return_state=True)
        assert (state.type.value, state.name) == ("CANCELLED", "Skipped")
        assert f"another run is at work in {toy.root}" in str(state.message)


def test_the_inbox_is_explained_by_a_process_whose_last_line_is_the_message(toy: Toy, on_server: str) -> None:
    from flows.explain_new import explain_new

    state = explain_new(str(toy.root), return_state=True)
    assert state.is_completed() and "0 examples" in str(state.message)
    (toy.root / "inbox.csv").write_text("example_id\nx\n")
    state = explain_new(str(toy.root), return_state=True)
    assert state.is_failed()
    assert str(state.message).startswith("explain_new: data/prepared/train.parquet is missing: run its stage")


@LONG
def test_a_run_lost_with_its_worker_is_marked_crashed_and_run_again(working: Deployed, on_server: str) -> None:
    from flows.automations import set_up

    set_up(crashed_after=timedelta(seconds=40))  # a little over the heartbeat
    working.reset(WAIT)
    lost = working.start()
    working.stage_at_work()
    working.kill_worker()
    killed = time.monotonic()
    wait_until(lambda: working.run(lost)["state_name"] == "AwaitingRetry", 90)
    print(f"marked and rescheduled {time.monotonic() - killed:.0f} s after the kill")
    states = working.get("flow_run_states/", flow_run_id=lost)
    assert "CRASHED" in [state["type"] for state in states]
    (working.toy.root / "go").touch()
    working.start_worker()
    run = working.ends(lost)
    assert (run["state_type"], run["run_count"]) == ("COMPLETED", 2)
    assert working.toy.up_to_date()
