"""The paper's experiments as Prefect flows, one each: a stage of experiments/dvc.yaml, brought up to date by DVC."""

from pathlib import Path
from typing import Any

from prefect import Flow, flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Failed, State

from flows.dvc_graph import read_graph
from flows.launch import run_to_end
from flows.pipeline import run_stage
from tasks.artifacts import read_json
from tasks.errors import UserError

FOLDER = "experiments"


def experiment_flow(name: str) -> Flow[[str, bool], dict[str, str] | State[Any]]:
    """The flow of one experiment; its parameters are the folder of experiments/dvc.yaml, and whether to force it."""

    @flow(name=f"experiment-{name.replace('_', '-')}", validate_parameters=True)
    def experiment(folder: str, force: bool = False) -> dict[str, str] | State[Any]:
        root = Path(folder).resolve()
        try:
            stages = read_graph(root, [name], status=not force)
        except UserError as error:
            return Failed(message=str(error))
        outcomes: dict[str, str] = {}
        for stage in stages:
            state = run_stage(stage.name, str(root), force, stage.unchanged, return_state=True)
            outcomes[stage.name] = state.name or "Failed"
            if not state.is_completed():
                return Failed(message=state.message)
        create_markdown_artifact(_as_markdown(root, name), key=f"experiment-{name.replace('_', '-')}")
        return outcomes

    return experiment


def run_experiment(root: Path, name: str, force: bool = False) -> dict[str, str]:
    """Run one experiment's flow from this process.

    Args:
        root: the repository, or its folder experiments/.

    Returns:
        the outcome of its stage.

    Raises:
        UserError: there is no such experiment, the folder has none, or it failed, with its own sentence.
    """
    folder = root / FOLDER if (root / FOLDER / "dvc.yaml").is_file() else root
    if not (folder / "params.yaml").is_file() or folder.name != FOLDER:
        raise UserError(f"{root} has no folder {FOLDER}/: run the command in a checkout of this project's repository")
    chosen = experiment_flow(name)
    return run_to_end(lambda: chosen(str(folder), force, return_state=True))


def _as_markdown(root: Path, name: str) -> str:
    """The verdict and the numbers, for Prefect's page."""
    metrics = read_json(root / name / "metrics.json")
    rows = [f"| {key} | {value} |" for key, value in metrics.items() if isinstance(value, int | float)]
    return "\n".join([metrics["verdict"], "", "| metric | value |", "|---|---|", *rows])
