"""The queries in the inbox explained, as a Prefect flow: what a schedule runs between two full runs."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Cancelled, Completed, Failed, State

from flows.dvc_runner import stage_environment
from flows.exclusive import WorkspaceBusy, only_run
from flows.lifeline import Child
from flows.missed import cancel_missed
from flows.pipeline import SKIPPED

MODULE = "tasks.explain_new"
NAME = MODULE.removeprefix("tasks.")


@flow(name="influence-explain", validate_parameters=True)
def explain_new(workspace: str = ".") -> State[Any]:
    """Explain the queries in the workspace's inbox that the present model has not explained yet.

    It reads what a full run writes, so it waits for its next turn where one is at work.

    Args:
        workspace: the folder that holds params.yaml.
    """
    root, say = Path(workspace).resolve(), get_run_logger().info
    cancel_missed(say)
    try:
        with only_run(root), Child([MODULE], root, stage_environment()) as child:
            assert child.process.stdout is not None
            last = ""
            for line in filter(None, map(str.rstrip, child.process.stdout)):
                last = line
                say(line)
            code = child.process.wait()
    except WorkspaceBusy as error:
        return Cancelled(name=SKIPPED, message=str(error))
    if code:
        return Failed(message=last if last.startswith(NAME) else f"{NAME}: {last or f'exit code {code}'}")
    return Completed(message=last)
