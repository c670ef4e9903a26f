import pytest
import torch
from convex import KINDS, minimised, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import randn
from oracle import make_problem, networks, relative_error, unflatten
from torch import Tensor, nn

from influence.layers import PerExampleGradients, as_vectors
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.scores import Pairwise, perturbation
from influence.vectors import Vectors

STEP = 1e-5


def solutions(problem: Problem, queries: int = 2) -> Vectors:
    return unflatten(randn(queries, problem.parameter_count, seed=5), problem.parameters)


def central_differences(pairwise: Pairwise, data: TensorData, index: int) -> Tensor:
    """Of the influence of one training example in every number of its input, [Q, *input shape]."""
    example = data.inputs[index]
    unit = torch.eye(example.numel(), dtype=torch.float64).view(-1, *example.shape)
    targets = data.targets[index].expand(len(unit))
    above, below = (pairwise.batch(example + sign * STEP * unit, targets) for sign in (1, -1))
    return ((above - below) / (2 * STEP)).view(-1, *example.shape)


@pytest.mark.parametrize("name", networks())
def test_it_is_the_derivative_of_pairwise(name: str) -> None:
    problem, data = make_problem(name)
    vectors = solutions(problem)
    pairwise = Pairwise(PerExampleGradients(problem, data.inputs[:2]), vectors, len(data))
    indices = [4, 0, 4]
    found = perturbation(problem, vectors, data, indices)
    truth = torch.stack([central_differences(pairwise, data, index) for index in indices], dim=1)
    assert found.shape == (2, 3, *data.inputs.shape[1:])
    assert relative_error(found, truth) <= 1e-8


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_retraining_with_the_example_moved(kind: str) -> None:
    """The loss of a model trained again falls by the derivative, to first order exactly."""
    case, index = trained(kind, 40), 7
    queries = case.gradients.read(case.queries.inputs, targets=case.queries.targets)
    vectors = case.solve(as_vectors(case.gradients, queries))
    direction = randn(case.data.inputs.shape[1], seed=6)
    found = perturbation(case.problem, vectors, case.data, [index])[:, 0] @ direction

    step, losses = 1e-4, []
    for sign in (1, -1):
        moved = case.data.inputs.clone()
        moved[index] += sign * step * direction
        width = case.problem.parameters["weight"].shape[0]
        problem = minimised(
            case.problem.objective, TensorData(moved, case.data.targets), width, "bias" in case.problem.parameters
        )
        losses.append(problem.loss(problem.parameters, case.queries.inputs, case.queries.targets))
    assert relative_error(-found, (losses[0] - losses[1]) / (2 * step)) <= 1e-6


@settings(max_examples=10)
@given(memory_limit=st.integers(1, 50_000), indices=st.lists(st.integers(0, 6), min_size=1, max_size=9))
def test_it_does_not_depend_on_memory_or_company(memory_limit: int, indices: list[int]) -> None:
    problem, data = make_problem("convolutions")
    vectors = solutions(problem, 3)
    found = perturbation(problem, vectors, data, indices, memory_limit)
    alone = perturbation(problem, vectors, data, range(len(data)))
    assert relative_error(found, alone[:, indices]) <= 1e-12


def test_only_the_parameters_that_count_are_moved() -> None:
    whole, data = make_problem("mlp without bias")
    problem = Problem(whole.model, whole.objective, ["0.weight"])
    vectors = solutions(problem)
    padded = {name: torch.zeros(2, *value.shape).double() for name, value in whole.parameters.items()} | vectors
    found, truth = (perturbation(each, s, data, [1, 2]) for each, s in ((problem, vectors), (whole, padded)))
    assert relative_error(found, truth) <= 1e-12


def test_token_numbers_cannot_be_moved() -> None:
    problem = Problem(nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(20, 3)), SoftmaxCrossEntropy())
    data = TensorData(torch.zeros(3, 5, dtype=torch.int64), torch.arange(3))
    vectors = {name: torch.zeros(1, *value.shape) for name, value in problem.parameters.items()}
    with pytest.raises(TypeError, match=r"inputs of type torch\.int64 cannot be moved by a little"):
        perturbation(problem, vectors, data, [0])
