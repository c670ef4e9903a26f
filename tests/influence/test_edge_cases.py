"""Training sets, queries and models at the edge of what there is, through every curvature of the engine."""

from dataclasses import dataclass

import pytest
import torch
from layer_checks import randn
from oracle import decay_diagonal, gauss_newton, loss_gradients, relative_error
from torch import Tensor, nn

from influence import Influence, Objective, SoftmaxCrossEntropy, SquaredError
from influence.inverse_curvature import Curvature, SolverName
from influence.problem import Problem, TensorData

DECAY, DAMPING, EXAMPLES = 0.03, 0.1, 6
WAYS: list[tuple[Curvature, SolverName]] = [
    ("gauss-newton", "direct"),
    ("gauss-newton", "conjugate-gradient"),
    ("hessian", "direct"),
    ("ekfac", "direct"),
    ("kfac", "direct"),
    ("diagonal", "direct"),
    ("identity", "direct"),
]


@dataclass(frozen=True)
class Case:
    """Examples 0 and 1 of the training set are of interest; the first query has no gradient where `silent` says so."""

    model: nn.Module
    objective: Objective
    train: TensorData
    queries: TensorData
    silent: bool = False


class WithUnused(nn.Module):
    """A module and a parameter that the outputs do not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.last = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.last(torch.tanh(self.used(inputs)))
        return output


def mlp(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4), activation(), nn.Linear(4, 3)).double()


def cases() -> dict[str, Case]:
    softmax, squared = SoftmaxCrossEntropy(DECAY), SquaredError(DECAY)
    labels = torch.arange(EXAMPLES) % 3
    train, queries = TensorData(randn(EXAMPLES, 5), labels), TensorData(randn(3, 5, seed=2), torch.arange(3))
    torch.manual_seed(1)
    unused = WithUnused().double()

    cut_off, dead, met = mlp(), mlp(nn.ReLU), mlp()
    nn.init.zeros_(cut_off[2].weight)
    nn.init.constant_(dead[0].bias, -100.0)
    targets = randn(EXAMPLES, 3, seed=4)
    targets[:2] = met(train.inputs[:2]).detach()
    met_queries = TensorData(torch.cat([train.inputs[:1], queries.inputs]), torch.cat([targets[:1], randn(3, 3)]))
    return {
        "one example": Case(mlp(), softmax, TensorData(train.inputs[:1], labels[:1]), queries),
        "one query": Case(mlp(), softmax, train, TensorData(queries.inputs[:1], labels[:1])),
        "one of each": Case(mlp(), softmax, TensorData(train.inputs[:1], labels[:1]), TensorData(*one(queries))),
        "a class absent from training": Case(mlp(), softmax, TensorData(train.inputs, labels % 2), queries),
        "all of one class": Case(mlp(), softmax, TensorData(train.inputs, 0 * labels), queries),
        "the same example six times": Case(
            mlp(), softmax, TensorData(train.inputs[:1].expand(6, 5), 0 * labels), queries
        ),
        "a layer unused": Case(unused, softmax, train, queries),
        "a layer cut off from the outputs": Case(cut_off, softmax, train, queries),
        "a layer of dead units": Case(dead, softmax, train, queries),
        "examples and a query without gradient": Case(
            met, squared, TensorData(train.inputs, targets), met_queries, True
        ),
        "inputs of zeros": Case(mlp(), softmax, TensorData(0 * train.inputs, labels), queries),
    }


def one(data: TensorData) -> tuple[Tensor, Tensor]:
    return data.inputs[:1], data.targets[:1]


def engine_of(case: Case, curvature: Curvature, solver: SolverName) -> Influence:
    # The Hessian of a network has negative eigenvalues, which damping has to outweigh.
    damping = 10.0 if curvature == "hessian" else DAMPING
    train = (case.train.inputs, case.train.targets)
    return Influence(case.model, case.objective, train, curvature, solver, damping, tolerance=1e-10)


@pytest.mark.parametrize(("curvature", "solver"), WAYS)
@pytest.mark.parametrize("name", cases())
def test_every_curvature_answers_and_agrees_with_itself(name: str, curvature: Curvature, solver: SolverName) -> None:
    case = cases()[name]
    engine = engine_of(case, curvature, solver)
    scores = engine.pairwise((case.queries.inputs, case.queries.targets))
    assert engine.certificate.converged
    assert scores.shape == (len(case.queries), len(case.train)) and bool(scores.isfinite().all())
    assert bool((scores[1:] != 0).any()) or len(case.queries) == 1
    if case.silent:
        assert float(scores[0].abs().max()) <= 1e-12
    own = engine.self_influence()
    assert own.shape == (len(case.train),)
    everything = engine.pairwise((case.train.inputs, case.train.targets))
    assert torch.allclose(own, everything.diagonal(), rtol=1e-7, atol=1e-12)
    indices, values = engine.top((case.queries.inputs, case.queries.targets), k=len(case.train)).helpful()
    for row, (kept, value) in enumerate(zip(indices, values, strict=True)):
        found = kept[kept >= 0]
        assert len(found) == int((scores[row] > 0).sum()) and torch.equal(scores[row, found], value[kept >= 0])


@pytest.mark.parametrize("solver", ["direct", "conjugate-gradient", "lissa"])
@pytest.mark.parametrize("name", cases())
def test_gauss_newton_gives_the_dense_answer(name: str, solver: SolverName) -> None:
    case = cases()[name]
    found = engine_of(case, "gauss-newton", solver).pairwise((case.queries.inputs, case.queries.targets))
    problem = Problem(case.model, case.objective)
    decay = decay_diagonal(problem)
    theta = torch.cat([value.flatten() for value in problem.parameters.values()])
    shares = loss_gradients(problem, case.train) + decay * theta
    matrix = gauss_newton(problem, case.train) + (decay + DAMPING).diag()
    truth = loss_gradients(problem, case.queries) @ torch.linalg.solve(matrix, shares.T) / len(case.train)
    assert relative_error(found, truth) <= 1e-8
