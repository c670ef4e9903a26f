"""The precondition stage on a real trained model, against dense linear algebra."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dense_system import dense_system
from stage_runner import kill_after_the_first_shard, run_command, run_in

from influence.curvature import fit_ekfac, fit_kfac
from tasks import train
from tasks.artifacts import read_json
from tasks.dataset import load_split
from tasks.errors import UserError
from tasks.parameters import load_parameters
from tasks.precondition import query_gradients, run, solve_together
from tasks.problem import load_ekfac, load_gradients
from tasks.query_choice import choose_queries
from tasks.score import load_queries
from tasks.solver import Solver, curvature_examples, load_solver
from tasks.tensors import read_tensors
from tasks.workspace import Workspace

OUTPUTS = ("factors", "queries", "curvature_report")


def outputs(workspace: Workspace) -> dict[str, bytes]:
    return {name: getattr(workspace, name).read_bytes() for name in OUTPUTS}


def test_the_certificates_are_true(scored: Path) -> None:
    workspace = Workspace(scored)
    parameters = load_parameters(workspace.parameters)
    system, queries = dense_system(workspace, parameters), load_queries(workspace, torch.device("cpu"))
    tensors, metadata = read_tensors(workspace.queries)
    position = {name: index for index, name in enumerate(load_split(workspace, "validation").ids)}
    right = system.queries[[position[name] for name in queries.ids]]
    found = (right - system.flat(queries.solutions) @ system.matrix).norm(dim=1) / right.norm(dim=1)
    assert torch.allclose(found, queries.residual.double(), atol=2e-5)
    assert bool((found <= 1.5e-4).all()) and bool(tensors["converged"].all())
    report = read_json(workspace.curvature_report)
    assert report["queries"] == report["converged"] == 10
    assert report["largest_residual"] == float(tensors["relative_residual"].max())
    assert report["negative_curvature"] == 0 and report["parameters"] == system.matrix.shape[0]
    trace = float(system.matrix.diagonal().sum())
    decay = parameters.train.weight_decay * sum(
        value[0].numel() for name, value in queries.solutions.items() if not name.endswith("bias")
    )
    without_shift = (trace - decay) / report["parameters"] - report["damping"]
    assert report["mean_eigenvalue"] == pytest.approx(without_shift, rel=1e-4)
    assert report["damping"] == pytest.approx(0.1 * report["mean_eigenvalue"])
    assert metadata["damping"] == report["damping"]


def test_many_queries_together_are_solved_as_one_and_none_is_zero(scored: Path) -> None:
    workspace = Workspace(scored)
    parameters = load_parameters(workspace.parameters)
    train_split, validation = load_split(workspace, "train"), load_split(workspace, "validation")
    gradients = load_gradients(workspace, parameters, train_split, torch.device("cpu"))
    ekfac, damping = load_ekfac(workspace, gradients)
    solver = Solver(ekfac, train_split, parameters, damping)
    system, some = dense_system(workspace, parameters), np.array([1, 4, 30])
    found = system.flat(solve_together(gradients, solver, validation.subset(some), memory=1))
    exact = torch.linalg.solve(system.matrix, system.queries[some].sum(dim=0))
    assert float((found[0] - exact).norm()) <= 5e-3 * float(exact.norm())
    none = solve_together(gradients, solver, validation.subset(some[:0]), memory=1)
    assert float(system.flat(none).abs().max()) == 0.0


@pytest.mark.parametrize("count", [None, 40, 10_000])
def test_the_operator_is_of_all_examples_or_of_a_random_subset(scored: Path, count: int | None) -> None:
    workspace = Workspace(scored)
    settings = load_parameters(workspace.parameters).precondition.model_copy(update={"curvature_examples": count})
    train = load_split(workspace, "train")
    used = curvature_examples(train, settings, seed=0)
    assert len(used) == (40 if count == 40 else 150)
    places = [train.ids.index(name) for name in used.ids]
    assert places == sorted(set(places))
    assert torch.equal(used.labels, train.labels[places]) and np.array_equal(used.inputs, train.inputs[places])
    if count == 40:
        assert used.ids != train.ids[:40]
        assert used.ids != curvature_examples(train, settings, seed=1).ids


def test_two_runs_give_the_same_bytes_and_another_seed_does_not(
    scored: Path, copy_scored: Callable[..., Workspace]
) -> None:
    again = copy_scored("again")
    run_in(again.root, run)
    assert outputs(again) == outputs(Workspace(scored))
    assert len(list((again.work / "precondition").glob("*/*.safetensors"))) == 3
    again.parameters.write_text(again.parameters.read_text() + "seed: 5\n")
    run_in(again.root, run)
    assert outputs(again)["queries"] != outputs(Workspace(scored))["queries"]


def test_a_little_memory_changes_no_answer(scored: Path, copy_scored: Callable[..., Workspace]) -> None:
    small = copy_scored("small", compute={"memory_limit": "1MiB"})
    run_in(small.root, run)
    ours, theirs = (load_queries(Workspace(root), torch.device("cpu")) for root in (small.root, scored))
    assert ours.ids == theirs.ids
    for name, expected in theirs.solutions.items():
        assert float((ours.solutions[name] - expected).norm() / expected.norm()) < 1e-3


def test_without_any_shift_a_singular_curvature_is_refused_before_it_is_inverted(
    copy_scored: Callable[..., Workspace],
) -> None:
    """Softmax never sees a constant added to all logits: the Gauss-Newton matrix has zero eigenvalues."""
    workspace = copy_scored("singular", precondition={"damping": 0.0}, train={"weight_decay": 0.0})
    with pytest.raises(UserError, match=r"cannot be inverted: set `precondition\.damping` or `train\.weight_decay`"):
        run_in(workspace.root, run)


def test_factors_of_another_model_are_refused(scored: Path, copy_scored: Callable[..., Workspace]) -> None:
    workspace, cpu = Workspace(scored), torch.device("cpu")
    parameters, split = load_parameters(workspace.parameters), load_split(workspace, "train")
    ekfac, damping = load_ekfac(workspace, load_gradients(workspace, parameters, split, cpu))
    assert ekfac.layers.keys() == {"hidden1", "output"}
    assert damping == read_json(workspace.curvature_report)["damping"]
    deeper = copy_scored("other", train={"arguments": {"hidden": [8, 5]}, "epochs": 1})
    run_in(deeper.root, train.run)
    gradients = load_gradients(deeper, load_parameters(deeper.parameters), split, cpu)
    with pytest.raises(UserError, match=r"factors\.safetensors is of another model .*hidden2.*rerun precondition"):
        load_ekfac(deeper, gradients)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(scored: Path, copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("killed")
    for name in OUTPUTS:
        getattr(workspace, name).unlink()
    shutil.rmtree(workspace.work)
    kill_after_the_first_shard(workspace.root, "precondition")
    assert not any(getattr(workspace, name).exists() for name in OUTPUTS)
    assert "precondition: 1 shards reused, 0 to do" in run_command(workspace.root, "precondition")
    assert outputs(workspace) == outputs(Workspace(scored))


@pytest.mark.parametrize("curvature", ["EK-FAC", "K-FAC"])
def test_other_curvatures_are_inverted_at_once_and_kept_for_the_questions(
    copy_scored: Callable[..., Workspace], curvature: str
) -> None:
    workspace = copy_scored("curvature", precondition={"curvature": curvature})
    run_in(workspace.root, run)
    report, parameters = read_json(workspace.curvature_report), load_parameters(workspace.parameters)
    assert report["curvature"] == curvature and curvature in report["solver"]
    assert report["largest_iterations"] == 1 and report["largest_residual"] < 1e-3
    train, validation = load_split(workspace, "train"), load_split(workspace, "validation")
    gradients = load_gradients(workspace, parameters, train, torch.device("cpu"))
    fit = {"EK-FAC": fit_ekfac, "K-FAC": fit_kfac}[curvature]
    chosen = choose_queries(workspace, validation, parameters.precondition, parameters.seed)
    right = query_gradients(gradients, *validation.batch(chosen, torch.device("cpu")))
    factors, shift = fit(gradients, train), report["damping"] + parameters.train.weight_decay
    expected, tensors = factors.power(right, -1.0, shift), read_tensors(workspace.queries)[0]
    again = load_solver(workspace, gradients, train, parameters).solve(right).vectors
    for name, value in expected.items():
        torch.testing.assert_close(tensors[f"solutions/{name}"], value, rtol=1e-2, atol=1e-3 * float(value.abs().max()))
        torch.testing.assert_close(again[name], tensors[f"solutions/{name}"])
