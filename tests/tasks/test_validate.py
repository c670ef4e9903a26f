"""The validate stage: retraining on toy data, and warnings where the scores are in fact bad."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from stage_runner import kill_after_the_first_shard, run_command, run_in

from influence.objective import SoftmaxCrossEntropy
from influence.retraining import minimise
from tasks import precondition, score, train
from tasks.artifacts import SCORES, read_json, read_table
from tasks.dataset import load_split
from tasks.determinism import derived_seed
from tasks.errors import UserError
from tasks.fitting import Fit
from tasks.models import build
from tasks.parameters import Curvature, load_parameters
from tasks.predict import evaluate
from tasks.problem import load_gradients
from tasks.score import load_queries
from tasks.tensors import read_tensors, write_tensors
from tasks.validate import run
from tasks.validation import halves
from tasks.validation.damping import Candidate, climb, tuning_queries
from tasks.validation.methods import Methods, query_positions
from tasks.validation.retrainer import Retrainer, reader
from tasks.workspace import Workspace

CPU = torch.device("cpu")
BUDGET = {"subsets": 24, "seeds": 2}
NETWORK: dict[str, Any] = {
    "compute": {"device": "cpu"},
    "train": {"factory": "mlp", "arguments": {"hidden": [8], "activation": "tanh"}, "epochs": 12, "batch_size": 16},
    "precondition": {"tolerance": 1e-4, "max_iterations": 300, "queries": {"errors": 4, "sample": 6}},
    "validate": BUDGET,
}
MakeWorkspace = Callable[..., Workspace]


def validated(workspace: Workspace) -> dict[str, Any]:
    run_in(workspace.root, run)
    found: dict[str, Any] = read_json(workspace.validation_metrics)
    return found


def shuffle_queries(workspace: Workspace) -> None:
    """Give every query the solution of another, turned round: scores that mean nothing."""
    tensors, metadata = read_tensors(workspace.queries)
    order = torch.randperm(len(tensors["relative_residual"]), generator=torch.Generator().manual_seed(1))
    for name, value in tensors.items():
        if name.startswith("solutions/"):
            signs = torch.where(torch.arange(len(order)) % 2 == 0, 1.0, -1.0)
            tensors[name] = value[order] * signs.view(-1, *[1] * (value.dim() - 1))
    write_tensors(workspace.queries, tensors, metadata)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, make_prepared: MakeWorkspace) -> Workspace:
    """A network trained long enough that its data matter more than its seed."""
    root = tmp_path_factory.mktemp("network")
    workspace = make_prepared(root, kind="table", count=120, held_out=60, classes=3, flipped=0.15, seed=2, **NETWORK)
    for stage in (train.run, precondition.run, run, score.run):
        run_in(root, stage)
    return workspace


def test_scores_of_a_network_are_measured_on_halves(network: Workspace) -> None:
    found = read_json(network.validation_metrics)
    own, ceiling = found["scores"]["influence"], found["ceiling"]
    assert found["method"] == "retraining on random halves" and found["queries"] == 10
    assert own["low"] > 0.1 and own["low"] < own["value"] < own["high"]
    assert own["value"] < ceiling["high"]
    assert f"LDS {own['value']:.2f} ±" in found["verdict"]
    assert found["verdict"].endswith("Trust the order of the top lists, not their size.")
    with network.retrained.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24 and set(rows[0]) == {"predicted", "actual"}


def test_the_verdict_goes_with_the_scores(network: Workspace, scored: Path) -> None:
    found = read_json(network.validation_metrics)
    for path in (network.top, network.self_influence):
        meaning = json.loads(read_table(path).schema.metadata[SCORES])
        assert meaning["trust"] == {key: found[key] for key in ("verdict", "warnings")}
    unmeasured = read_table(Workspace(scored).top).schema.metadata[SCORES]  # a graph without this stage
    assert json.loads(unmeasured)["trust"] is None


def test_a_half_is_trained_as_the_train_stage_would(network: Workspace) -> None:
    """The first half and seed, drawn again and trained by the class of the train stage."""
    parameters = load_parameters(network.parameters)
    data, validation = load_split(network, "train"), load_split(network, "validation")
    half = np.sort(np.random.default_rng([parameters.seed, 5]).permutation(len(data))[: len(data) // 2])
    seed = derived_seed(parameters.seed, 6, 0)
    model = build(parameters.train, data.encoding, seed)
    objective = SoftmaxCrossEntropy(parameters.train.weight_decay)
    epochs = read_json(network.model_metrics)["best_epoch"]
    fit = Fit(model, objective, data.subset(half), validation, parameters.train, seed, 64)
    states: list[dict[str, torch.Tensor]] = []
    fit.run(lambda state: states.append(state.weights))
    model.load_state_dict(states[epochs - 1])
    queries = load_queries(network, CPU)
    gradients = load_gradients(network, parameters, data, CPU)
    methods = Methods(network, gradients, queries, data, validation, 2**28)
    found = halves.retrain(Retrainer(network, parameters, data, validation, CPU), subsets=24, seeds=2)
    assert found.members[0].nonzero().squeeze(1).tolist() == half.tolist()
    expected = objective.loss(model(methods.inputs), methods.targets).detach()
    torch.testing.assert_close(found.at(methods.positions)[0, :, 0].float(), expected, rtol=1e-3, atol=1e-4)
    assert evaluate(model, validation, objective, 64).accuracy > 0.5


def test_scores_that_mean_nothing_are_warned_of(
    network: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured anew without any training: the halves are those of the run before."""
    workspace = Workspace(tmp_path / "shuffled")
    shutil.copytree(network.root, workspace.root)
    shuffle_queries(workspace)
    found = validated(workspace)
    output = capsys.readouterr().out
    assert "shards reused, 0 to do" in output and "WARNING" in output
    assert found["scores"]["influence"]["low"] <= 0
    assert any("no better than chance" in warning for warning in found["warnings"])
    assert "Do not rely on the scores" in found["verdict"]
    assert found["ceiling"] == read_json(network.validation_metrics)["ceiling"]


LINEAR: dict[str, Any] = {
    "compute": {"device": "cpu"},
    "train": {"factory": "logistic", "epochs": 1, "batch_size": 100, "weight_decay": 0.02},
    "precondition": {
        "damping": 1e-6,
        "tolerance": 1e-4,
        "max_iterations": 300,
        "queries": {"errors": 5, "sample": 10},
    },
    "validate": {"examples": 20},
}


@dataclass(frozen=True)
class Everything:
    """A split as one batch in float64."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, device: torch.device | str = "cpu") -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(self.inputs[:size].double(), self.labels[:size])]


def to_the_minimum(workspace: Workspace) -> None:
    """Replace the weights by those at the minimum of the objective."""
    parameters, data = load_parameters(workspace.parameters), load_split(workspace, "train")
    model = build(parameters.train, data.encoding, 0).double()
    everything = Everything(*data.batch(slice(None)))
    minimise(model, SoftmaxCrossEntropy(parameters.train.weight_decay), everything, 1e-8, damping=1e-8)
    write_tensors(workspace.weights, model.float().state_dict(), read_tensors(workspace.weights)[1])


@pytest.mark.parametrize("trained", [True, False], ids=["at the minimum", "after one step"])
def test_a_linear_model_is_retrained_exactly(make_prepared: MakeWorkspace, tmp_path: Path, trained: bool) -> None:
    workspace = make_prepared(tmp_path, kind="table", count=100, held_out=60, flipped=0.1, **LINEAR)
    run_in(tmp_path, train.run)
    if trained:
        to_the_minimum(workspace)
    for stage in (precondition.run, score.run):
        run_in(tmp_path, stage)
    found = validated(workspace)
    own, warnings = found["scores"]["influence"], found["warnings"]
    assert found["method"] == "exact leave-one-out" and found["examples"] == 20
    if trained:
        assert own["low"] > 0.95 and found["actual_over_predicted"] == pytest.approx(1.0, abs=0.3)
        assert warnings == [] and found["verdict"].endswith("Trust order and size.")
    else:
        assert own["high"] < 0.95
        assert any("do not predict exact retraining" in warning for warning in warnings)
        assert any("sizes are off" in warning for warning in warnings)


def test_a_solver_that_fell_short_is_warned_of(copy_scored: MakeWorkspace) -> None:
    workspace = copy_scored("short", precondition={"max_iterations": 1})
    _add_budget(workspace, {"subsets": 0})
    for stage in (precondition.run, score.run):
        run_in(workspace.root, stage)
    found = validated(workspace)
    assert any("were not solved to the tolerance" in warning for warning in found["warnings"])
    assert "Not measured: `validate.subsets` is 0" in found["verdict"]


def test_given_weights_are_not_trained_again(copy_scored: MakeWorkspace) -> None:
    workspace = copy_scored("given", train={"checkpoint": "model/weights.safetensors"})
    found = validated(workspace)
    assert found["method"] == "none" and "the training that made them is not known" in found["verdict"]
    assert workspace.retrained.read_text() == "predicted,actual\n"


def test_removal_and_stability_are_measured_where_asked_for(network: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "more")
    shutil.copytree(network.root, workspace.root)
    _add_budget(workspace, {**BUDGET, "removal": [0.3], "stability": 1})
    found = validated(workspace)
    (row,) = found["removal"]
    assert row["removed"] == 36 and row["influence"]["low"] > row["random"]["value"]
    lists = found["stability"]
    assert lists["by_chance"] == round(20 / 120, 4) < lists["overlap"] <= 1 and lists["rank_correlation"] > 0
    assert "Without the 36 examples that they hold most helpful" in found["verdict"]
    assert "of the 20 at the top stay there (16.7% by chance)" in found["verdict"]
    assert found["scores"] == read_json(network.validation_metrics)["scores"]


def test_the_damping_is_chosen_on_queries_apart_from_those_reported(
    network: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the retrainings of the run before, together with the curvature; what scored best is what solves."""
    workspace = Workspace(tmp_path / "auto")
    shutil.copytree(network.root, workspace.root)
    content = yaml.safe_load(workspace.parameters.read_text())
    tuning = {"dampings": [0.1, 1e6], "queries": 20, **BUDGET}
    content["precondition"] |= {"damping": "auto", "curvature": "auto", "tuning": tuning}
    workspace.parameters.write_text(yaml.safe_dump(content))
    run_in(workspace.root, precondition.run)
    assert "validate: 3 shards reused, 0 to do" in capsys.readouterr().out
    report = read_json(workspace.curvature_report)
    tried = {(found["curvature"], found["damping"]): found["score"] for found in report["tuned"]}
    best = max(tried, key=tried.__getitem__)
    assert set(tried) == {(curvature, damping) for curvature in get_args(Curvature) for damping in (0.1, 1e6)}
    assert report["curvature"] == best[0] and report["damping"] == pytest.approx(best[1] * report["mean_eigenvalue"])
    validation = load_split(network, "validation")
    reported = query_positions(load_queries(workspace, CPU), validation)
    assert not set(reported) & set(tuning_queries(validation, reported, 20, seed=0))


def test_the_best_damping_is_found_uphill_without_trying_all() -> None:
    heights = {0.01: 0.1, 0.1: 0.2, 1.0: 0.3, 10.0: 0.4, 100.0: 0.5, 1000.0: 0.3, 1e4: 0.2}
    row, tried = [Candidate("EK-FAC", damping) for damping in heights], list[float]()

    def height(candidate: Candidate) -> float:
        tried.append(candidate.damping)
        return heights[candidate.damping]

    assert climb(row, height).damping == 100.0 and set(tried) == {1.0, 10.0, 100.0, 1000.0}
    assert climb(row[-2:], height).damping == 1000.0 and climb(row[:1], height).damping == 0.01


def test_a_damping_cannot_be_chosen_for_weights_that_were_given(copy_scored: MakeWorkspace) -> None:
    workspace = copy_scored(
        "given", train={"checkpoint": "model/weights.safetensors"}, precondition={"damping": "auto"}
    )
    with pytest.raises(UserError, match=r"`precondition\.damping: auto` measures by retraining"):
        run_in(workspace.root, precondition.run)


def test_a_curvature_is_not_chosen_without_its_damping(copy_scored: MakeWorkspace) -> None:
    workspace = copy_scored("fixed", precondition={"curvature": "auto", "damping": 0.1})
    with pytest.raises(UserError, match="set damping to auto, too"):
        load_parameters(workspace.parameters)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(network: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "killed")
    shutil.copytree(network.root, workspace.root)
    shutil.rmtree(workspace.work / "validate")
    workspace.validation_metrics.unlink()
    kill_after_the_first_shard(workspace.root, "validate")
    assert not workspace.validation_metrics.exists()
    assert "validate: 1 shards reused" in run_command(workspace.root, "validate")
    assert workspace.validation_metrics.read_bytes() == network.validation_metrics.read_bytes()
    assert workspace.retrained.read_bytes() == network.retrained.read_bytes()


@pytest.mark.parametrize("memory", [2**30, 1])
def test_examples_are_read_alike_from_memory_and_one_by_one(network: Workspace, memory: int) -> None:
    split = load_split(network, "train")
    inputs, labels = reader(split, CPU, memory)(np.array([5, 2]))
    expected = split.batch(np.array([5, 2]))
    assert torch.equal(inputs, expected[0]) and torch.equal(labels, expected[1])


def _add_budget(workspace: Workspace, budget: dict[str, Any]) -> None:
    content = yaml.safe_load(workspace.parameters.read_text())
    workspace.parameters.write_text(yaml.safe_dump({**content, "validate": budget}))
