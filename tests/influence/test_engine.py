"""Every question that the engine answers, against matrices written out in float64."""

from typing import Any

import pytest
import torch
from engine_cases import DAMPING, MEASUREMENTS, NAMES, dense, engine_of, queries_of, query_gradients, shares
from oracle import gauss_newton, loss_gradients, make_problem, relative_error
from torch import Tensor
from torch.utils.data import Dataset

from influence import Influence, Relative
from influence.measurement import Measure, Measurement
from influence.problem import Problem, TensorData
from influence.scores.relative import Relation

SOLVERS = ["direct", "conjugate-gradient", "lissa", "arnoldi", "nystrom", "eigen"]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["logistic", "mlp without bias"])
def test_every_solver_gives_the_dense_answer_and_a_true_certificate(name: str, solver: str) -> None:
    engine, problem, data = engine_of(name, solver=solver)
    queries = (data.inputs[:3], 2 - data.targets[:3])
    gradients = loss_gradients(problem, TensorData(*queries))
    truth = gradients @ torch.linalg.solve(dense(problem, data), shares(problem, data).T) / len(data)
    found = engine.pairwise(queries)
    assert engine.certificate.converged and engine.certificate.largest_residual <= 1.1e-10
    assert relative_error(found, truth) <= 1e-8


@pytest.mark.parametrize(("measurement", "measure"), MEASUREMENTS, ids=["loss", "margin", "log-odds", "logit", "own"])
@pytest.mark.parametrize("name", NAMES)
def test_any_measurement_of_a_query_can_be_asked_about(name: str, measurement: Measurement, measure: Measure) -> None:
    engine, problem, data = engine_of(name, solver="direct")
    queries = queries_of(data)
    gradients = query_gradients(problem, queries, measure)
    truth = gradients @ torch.linalg.solve(dense(problem, data), shares(problem, data).T) / len(data)
    assert relative_error(engine.pairwise((queries.inputs, queries.targets), measurement), truth) <= 1e-10


@pytest.mark.parametrize("relation", ["theta-relative", "loss-relative", "cosine"])
@pytest.mark.parametrize("name", NAMES)
def test_influence_set_against_how_far_an_example_moves_the_model(name: str, relation: Relation) -> None:
    engine, problem, data = engine_of(name, solver="direct")
    queries, inverse = queries_of(data), torch.linalg.inv(dense(problem, data))
    own, theirs = shares(problem, data), query_gradients(problem, queries)
    moves = own @ inverse
    lengths = moves.norm(dim=1) if relation == "theta-relative" else (moves * own).sum(dim=1).sqrt()
    truth = theirs @ moves.T / lengths
    if relation == "cosine":
        truth = truth / ((theirs @ inverse) * theirs).sum(dim=1, keepdim=True).sqrt()
    found = engine.pairwise((queries.inputs, queries.targets), relation=relation)
    assert relative_error(found, truth) <= 1e-10
    helpful = engine.top((queries.inputs, queries.targets), 1, relation=relation).helpful()[0][:, 0]
    best = torch.where(truth.amax(dim=1) > 0, truth.argmax(dim=1), -1)
    assert torch.equal(helpful, best)


@pytest.mark.parametrize("name", NAMES)
def test_perturbation_is_the_derivative_of_influence_in_the_example_s_input(name: str) -> None:
    engine, problem, data = engine_of(name, solver="direct")
    queries, indices = queries_of(data), [2, 0]
    solved = torch.linalg.solve(dense(problem, data), query_gradients(problem, queries).T).T
    truth = torch.stack([torch.stack([derivative(problem, data, i, s) for i in indices]) for s in solved])
    found = engine.perturbation((queries.inputs, queries.targets), indices)
    assert found.shape == (3, 2, *data.inputs.shape[1:])
    assert relative_error(found, truth) <= 1e-9
    alone = engine.perturbation((queries.inputs[:1], queries.targets[:1]), indices)
    assert alone.shape == (2, *data.inputs.shape[1:]) and relative_error(alone, truth[0]) <= 1e-9


def derivative(problem: Problem, data: TensorData, index: int, solution: Tensor) -> Tensor:
    """Of s^T g / n in the input of one example, by autograd twice."""
    leaves = {name: value.clone().requires_grad_(True) for name, value in problem.parameters.items()}
    inputs = data.inputs[index : index + 1].clone().requires_grad_(True)
    loss = problem.loss(leaves, inputs, data.targets[index : index + 1]).sum()
    slopes = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
    along = (torch.cat([slope.flatten() for slope in slopes]) * solution).sum()
    found: Tensor = torch.autograd.grad(along, inputs)[0][0] / len(data)
    return found


def test_hessian_and_gauss_newton_agree_on_a_linear_model() -> None:
    queries = make_problem("logistic")[1]
    first, second = (engine_of("logistic", curvature=name)[0] for name in ("hessian", "gauss-newton"))
    batch = (queries.inputs[:2], queries.targets[:2])
    assert relative_error(first.pairwise(batch), second.pairwise(batch)) <= 1e-8


@pytest.mark.parametrize("curvature", ["gauss-newton", "ekfac", "kfac", "diagonal", "identity"])
def test_self_influence_is_the_diagonal_of_pairwise(curvature: str) -> None:
    engine, _, data = engine_of("convolutions", curvature=curvature)
    own = engine.self_influence()
    assert relative_error(own, engine.pairwise((data.inputs, data.targets)).diagonal()) <= 1e-8


def test_top_holds_the_ends_of_pairwise() -> None:
    engine, _, data = engine_of("sequence", curvature="ekfac")
    queries = (data.inputs[:2], data.targets[:2])
    scores, top = engine.pairwise(queries), engine.top(queries, k=2)
    for row in range(2):
        best = scores[row].argsort(descending=True)[:2]
        assert top.helpful()[0][row].tolist() == [int(i) if scores[row, i] > 0 else -1 for i in best]


def test_relative_damping_is_a_share_of_the_mean_eigenvalue() -> None:
    engine, problem, data = engine_of("logistic", damping=Relative(0.5), solver="direct")
    trace = float(gauss_newton(problem, data).trace())
    assert engine.certificate.damping == pytest.approx(0.5 * trace / problem.parameter_count, rel=1e-9)


def test_memory_limit_does_not_change_the_answer() -> None:
    data = make_problem("convolutions")[1]
    queries = (data.inputs[:2], data.targets[:2])
    first, second = (engine_of("convolutions", memory_limit=limit, solver="direct")[0] for limit in (20_000, "1GiB"))
    assert relative_error(first.pairwise(queries), second.pairwise(queries)) <= 1e-8


def test_the_queries_gradient_is_not_regularised() -> None:
    """A query is not trained on: its gradient is of its loss alone."""
    engine, problem, data = engine_of("logistic", curvature="identity")
    found = engine.pairwise((data.inputs[:1], data.targets[:1]))
    scale = len(data) * (1 + DAMPING + problem.objective.weight_decay)
    truth = loss_gradients(problem, data)[:1] @ shares(problem, data).T / scale
    assert relative_error(found, truth) <= 1e-10


class Pairs(Dataset[Any]):
    def __init__(self, data: TensorData) -> None:
        self.data = data

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.data.inputs[index], int(self.data.targets[index])

    def __len__(self) -> int:
        return len(self.data)


def test_examples_and_queries_of_every_form_give_the_same_answer() -> None:
    problem, data = make_problem("convolutions")
    forms: list[Any] = [(data.inputs, data.targets), data, Pairs(data)]
    found = []
    for form in forms:
        engine = Influence(problem.model, problem.objective, form, "ekfac", damping=DAMPING)
        found.append((engine.pairwise(form), engine.group([[1, 2]], form).first_order, engine.perturbation(form, [1])))
    for other in found[1:]:
        assert all(torch.equal(one, same) for one, same in zip(found[0], other, strict=True))


@pytest.mark.parametrize("solver", ["direct", "conjugate-gradient", "nystrom"])
def test_the_certificate_tells_what_was_done(solver: str) -> None:
    engine, _, data = engine_of("logistic", solver=solver)
    before = engine.certificate
    assert not before.solves and before.converged and before.largest_residual == 0.0
    engine.pairwise((data.inputs[:3], data.targets[:3]))
    certificate = engine.certificate
    assert certificate.residuals.shape == (3,) and certificate.operator_products >= 3
    assert certificate.damping == DAMPING and certificate.seconds > 0
    assert certificate.peak_memory is None or certificate.peak_memory >= 0
    assert "3 of 3 systems solved" in str(certificate)


def test_a_system_that_is_not_solved_is_flagged() -> None:
    engine, _, data = engine_of("mlp without bias", max_iterations=1, preconditioner="none", damping=1e-3)
    engine.pairwise((data.inputs[:3], data.targets[:3]))
    certificate = engine.certificate
    assert not certificate.converged and certificate.largest_residual > 1e-3
    assert "0 of 3 systems solved" in str(certificate)


def test_only_the_parameters_that_count_are_in_an_answer() -> None:
    problem, data = make_problem("mlp without bias")
    chosen = Problem(problem.model, problem.objective, ["2.weight"])
    engine = Influence(
        problem.model, problem.objective, data, damping=DAMPING, solver="direct", parameters=["2.weight"]
    )
    queries = queries_of(data)
    gradients = query_gradients(problem, queries)[:, -15:-3]
    truth = gradients @ torch.linalg.solve(dense(chosen, data), shares(chosen, data).T) / len(data)
    assert relative_error(engine.pairwise(queries), truth) <= 1e-10

    for name, parameter in problem.model.named_parameters():
        parameter.requires_grad_(name == "2.weight")
    frozen = Influence(problem.model, problem.objective, data, damping=DAMPING, solver="direct")
    assert torch.equal(frozen.pairwise(queries), engine.pairwise(queries))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("curvature", ["gauss-newton", "hessian", "ekfac", "kfac", "diagonal", "identity"])
def test_a_cuda_device_gives_the_answers_of_the_cpu(curvature: str) -> None:
    found = []
    for device in ("cpu", "cuda"):
        engine, _, data = engine_of("convolutions", curvature=curvature, damping=30.0, device=device)
        queries = queries_of(data)
        top = engine.top(queries, 2).helpful()[0]
        found.append([engine.pairwise(queries), engine.self_influence(), engine.perturbation(queries, [3]), top])
        assert (engine.certificate.peak_memory or 0) > 0 or device == "cpu"
    for cpu, cuda in zip(*found, strict=True):
        assert relative_error(cuda.double().cpu(), cpu.double()) <= 1e-8
