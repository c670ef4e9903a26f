import pytest
import torch
from oracle import decay_diagonal, gauss_newton, loss_gradients, make_problem, relative_error
from torch import Tensor, nn

from influence import Influence, Relative, SoftmaxCrossEntropy
from influence.problem import Problem, TensorData

SOLVERS = ["direct", "conjugate-gradient", "lissa", "arnoldi", "nystrom", "eigen"]
DAMPING = 0.1


def engine_of(name: str, **options: object) -> tuple[Influence, Problem, TensorData]:
    problem, data = make_problem(name)
    options = {"damping": DAMPING, "tolerance": 1e-10, **options}
    engine = Influence(problem.model, problem.objective, (data.inputs, data.targets), **options)  # type: ignore[arg-type]
    return engine, problem, data


def shares(problem: Problem, data: TensorData) -> Tensor:
    theta = torch.cat([value.flatten() for value in problem.parameters.values()])
    return loss_gradients(problem, data) + decay_diagonal(problem) * theta


def dense(problem: Problem, data: TensorData) -> Tensor:
    identity = torch.eye(problem.parameter_count, dtype=torch.float64)
    return gauss_newton(problem, data) + decay_diagonal(problem).diag() + DAMPING * identity


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
    first, second = (engine_of("convolutions", memory_limit=limit)[0] for limit in (20_000, "1GiB"))
    assert relative_error(first.pairwise(queries), second.pairwise(queries)) <= 1e-8


def test_what_cannot_be_is_refused_with_a_sentence() -> None:
    train = (torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="curvature is one of hessian"):
        Influence(nn.Linear(3, 2), SoftmaxCrossEntropy(), train, curvature="fisher")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="solver is one of direct"):
        Influence(nn.Linear(3, 2), SoftmaxCrossEntropy(), train, solver="magic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="training set is empty"):
        Influence(nn.Linear(3, 2), SoftmaxCrossEntropy(), (train[0][:0], train[1][:0]))


def test_the_queries_gradient_is_not_regularised() -> None:
    """A query is not trained on: its gradient is of its loss alone."""
    engine, problem, data = engine_of("logistic", curvature="identity")
    found = engine.pairwise((data.inputs[:1], data.targets[:1]))
    scale = len(data) * (1 + DAMPING + problem.objective.weight_decay)
    truth = loss_gradients(problem, data)[:1] @ shares(problem, data).T / scale
    assert relative_error(found, truth) <= 1e-10
