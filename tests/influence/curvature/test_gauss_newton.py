import pytest
import torch
from oracle import decay_diagonal, flatten, gauss_newton, make_problem, networks, relative_error, unflatten

from influence.curvature import FactoredGaussNewton, GaussNewton, LinearOperator, Regularisation
from influence.layers import PerExampleGradients
from influence.problem import Problem, TensorData

TINY = 1  # a memory limit that lets one example through at a time
SOME = 40_000  # one that lets few through, and keeps the gradients of some of them


def operators(problem: Problem, data: TensorData, memory_limit: int) -> list[LinearOperator]:
    gradients = PerExampleGradients(problem, data.inputs[:2])
    return [GaussNewton(problem, data, memory_limit), FactoredGaussNewton(gradients, data, memory_limit)]


@pytest.mark.parametrize("memory_limit", [TINY, SOME, 2**30])
@pytest.mark.parametrize("name", networks())
def test_products_equal_the_dense_matrix(name: str, memory_limit: int) -> None:
    problem, data = make_problem(name)
    dense = gauss_newton(problem, data)
    columns = torch.eye(problem.parameter_count, dtype=torch.float64)
    if memory_limit == TINY:  # one vector and one example at a time
        columns = torch.randn(3, len(columns), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vectors = unflatten(columns, problem.parameters)
    for operator in operators(problem, data, memory_limit):
        for _ in range(2):  # the second product may use gradients kept by the first
            assert relative_error(flatten(operator @ vectors), columns @ dense) <= 1e-10


def test_the_algebra_adds_damping_and_regularisation() -> None:
    problem, data = make_problem("mlp without bias")
    count = problem.parameter_count
    truth = 2.0 * gauss_newton(problem, data) + decay_diagonal(problem).diag() + 0.5 * torch.eye(count)
    operator = 2.0 * GaussNewton(problem, data) + Regularisation(problem) + 0.5
    identity = unflatten(torch.eye(count, dtype=torch.float64), problem.parameters)
    assert relative_error(flatten(operator @ identity), truth) <= 1e-12


def test_examples_and_vectors_multiplied_are_counted() -> None:
    problem, data = make_problem("logistic")
    vectors = unflatten(torch.ones(5, problem.parameter_count, dtype=torch.float64), problem.parameters)
    for operator in operators(problem, data, TINY):
        operator @ vectors
        assert operator.example_products == 5 * len(data)


def test_no_examples_are_refused() -> None:
    problem, data = make_problem("logistic")
    with pytest.raises(ValueError, match="at least one example"):
        GaussNewton(problem, TensorData(data.inputs[:0], data.targets[:0]))
