"""The pipeline as a Prefect flow: a task for every stage of dvc.yaml, run in order by DVC.

DVC's graph, cache and lock file are the only ones. Prefect adds schedules, states, retries, logs and a page; its own
cache is off, because it would give back return values where files are meant.
"""

from pathlib import Path
from typing import Any

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled, Completed, Failed, State

from flows import checks
from flows.alerts import tell_if_trust_fell
from flows.bridge import context_for_stages
from flows.drift import tell_drift
from flows.dvc_graph import Stage, read_graph, require_remote
from flows.dvc_runner import StageBusy, StageFailed, push, reproduce
from flows.exclusive import WorkspaceBusy, only_run
from flows.metrics import metric_rows
from flows.missed import cancel_missed
from flows.recording import recorded, run_environment
from flows.summary import as_markdown, summarise
from tasks import disk
from tasks.errors import UserError
from tasks.workspace import Workspace

SKIPPED = "Skipped"  # the name of the state of a run that found another at work
BUSY = "busy: "  # begins the message of a failure that another try may mend
RETRY_DELAYS = [5.0, 15.0, 60.0]  # seconds


def _is_busy(task: object, run: object, state: State[Any]) -> bool:
    return (state.message or "").startswith(BUSY)


@task(
    name="stage",
    task_run_name="{stage}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_is_busy,
)
def run_stage(stage: str, workspace: str, force: bool, unchanged: bool) -> State[Any]:
    """Bring one stage up to date; the name of the state tells how: Completed, Unchanged, Restored or Failed."""
    say = get_run_logger().info
    if unchanged and not force:
        say(f"{stage}: unchanged")
        return Completed(name="Unchanged", message="up to date")
    try:
        outcome = reproduce(stage, Path(workspace), say, force, {**context_for_stages(), **run_environment()})
    except StageBusy as error:
        return Failed(message=f"{BUSY}{error}")
    except StageFailed as error:
        return Failed(message=str(error))
    return Completed(name=outcome, message=outcome.lower())


@task(
    name="push",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
)
def push_outputs(workspace: str) -> State[Any]:
    """Upload the outputs to the DVC remote."""
    try:
        push(Path(workspace), get_run_logger().info)
    except StageFailed as error:
        return Failed(message=str(error))
    return Completed(message="pushed")


# The tasks are called directly, not submitted: a signal then reaches the stage, and not only a waiting thread.
@flow(name="influence-pipeline", validate_parameters=True)
def pipeline(
    workspace: str = ".", targets: list[str] | None = None, force: bool = False, push: bool = False
) -> dict[str, str] | State[Any]:
    """Bring the workspace up to date.

    Args:
        workspace: the folder that holds dvc.yaml.
        targets: only these stages and those they depend on; None: all.
        force: run stages even where nothing has changed.
        push: upload the outputs to the DVC remote in the end.

    Returns:
        the outcome of every stage; a failed state with the sentence of the stage that failed; or a cancelled one where
        another run is at work in the workspace.
    """
    root = Path(workspace).resolve()
    cancel_missed(get_run_logger().info)
    try:
        checks.check(root, targets)
        if push:
            require_remote(root)
        with disk.told(), only_run(root):
            return _run_stages(root, targets, force, push)
    except WorkspaceBusy as error:
        return Cancelled(name=SKIPPED, message=str(error))
    except UserError as error:
        return Failed(message=str(error))


def _run_stages(root: Path, targets: list[str] | None, force: bool, push: bool) -> dict[str, str] | State[Any]:
    with recorded(root, targets, force) as recording:
        outcomes = recording.outcomes
        for stage in read_graph(root, targets, status=not force):
            state = run_stage(stage.name, str(root), force, _still_unchanged(stage, outcomes), return_state=True)
            recording.outcome(stage.name, state.name or "Failed", state.message)
            if not state.is_completed():
                publish(root, outcomes)
                return Failed(message=state.message)
    publish(root, outcomes)
    if push:
        state = push_outputs(str(root), return_state=True)
        if not state.is_completed():
            return Failed(message=state.message)
    return outcomes


def publish(root: Path, outcomes: dict[str, str]) -> None:
    """Show the summary, and where the report lies, on Prefect's page; tell of a fall of trust, and of drift."""
    try:
        create_markdown_artifact(as_markdown(summarise(root, outcomes)), key="influence-summary")
        create_table_artifact(metric_rows(root), key="influence-metrics")
        report = Workspace(root).report
        if "report" in outcomes and report.exists():
            create_link_artifact(report.resolve().as_uri(), link_text=str(report), key="influence-report")
    except httpx.HTTPError as error:
        get_run_logger().warning(f"Prefect's server does not answer ({error}): its page lacks the summary of this run")
    if "validate" in outcomes and (fall := tell_if_trust_fell(root)):
        get_run_logger().warning(fall)
    if outcomes.get("report") in ("Completed", "Restored") and (alert := tell_drift(root)):  # Unchanged was told before
        get_run_logger().warning(alert)


def _still_unchanged(stage: Stage, outcomes: dict[str, str]) -> bool:
    """Whether the stage was up to date at the start, and nothing it needs has been made anew since."""
    return stage.unchanged and all(outcomes[needed] == "Unchanged" for needed in stage.needs)
