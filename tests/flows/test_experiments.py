"""Experiments on a real Prefect server, by real DVC."""

import json
import shutil
from pathlib import Path

import httpx
import pytest
import yaml
from toy import Toy

from tasks.errors import UserError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

METRICS = {"corr_without_loss": 0.9, "verdict": "as in the paper"}
STAGE = {
    "cmd": f"mkdir -p components && echo '{json.dumps(METRICS)}' > components/metrics.json",
    "params": ["components"],
    "metrics": [{"components/metrics.json": {"cache": False}}],
}


@pytest.fixture
def checkout(toy: Toy) -> Path:
    """A repository with a folder experiments/ of one quick stage."""
    folder = toy.root / "experiments"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"components": STAGE}}))
    (folder / "params.yaml").write_text("components: {test_point: 30}\n")
    return toy.root


def test_an_experiment_is_a_flow_of_its_own_and_dvcs_stage(checkout: Path, on_server: str) -> None:
    from flows.experiments import run_experiment

    assert run_experiment(checkout, "components") == {"components": "Completed"}
    assert run_experiment(checkout / "experiments", "components") == {"components": "Unchanged"}
    assert run_experiment(checkout, "components", force=True) == {"components": "Completed"}
    artifact = httpx.get(f"{on_server}/artifacts/experiment-components/latest").json()
    assert artifact["data"].startswith("as in the paper")
    assert "| corr_without_loss | 0.9 |" in artifact["data"]
    run = httpx.get(f"{on_server}/flow_runs/{artifact['flow_run_id']}").json()
    flow = httpx.get(f"{on_server}/flows/{run['flow_id']}").json()
    assert flow["name"] == "experiment-components"


def test_what_cannot_run_is_one_sentence(checkout: Path, on_server: str) -> None:
    from flows.experiments import run_experiment

    with pytest.raises(UserError, match="has no stage 'spam': its stages are components"):
        run_experiment(checkout, "spam")
    shutil.rmtree(checkout / "experiments")
    with pytest.raises(UserError, match="has no folder experiments/"):
        run_experiment(checkout, "components")


def test_the_repository_has_a_stage_and_parameters_for_every_experiment() -> None:
    stages = yaml.safe_load((ROOT / "experiments/dvc.yaml").read_text())["stages"]
    parameters = yaml.safe_load((ROOT / "experiments/params.yaml").read_text())
    assert stages.keys() == parameters.keys() - {"data_root", "seed"}
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m experiments.{name}"
        assert (ROOT / f"experiments/{name}.py").is_file()
