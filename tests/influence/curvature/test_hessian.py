import pytest
import torch
from layer_checks import randn
from oracle import flatten, gauss_newton, make_problem, networks, relative_error, unflatten
from torch import Tensor
from torch.func import grad, jacrev

from influence.curvature import GaussNewton, Hessian
from influence.problem import Problem, TensorData
from influence.vectors import block


def hessian(problem: Problem, data: TensorData) -> Tensor:
    """The Hessian of the mean loss by differentiating twice in reverse, [P, P]."""

    def loss(flat: Tensor) -> Tensor:
        parameters = {name: value[0] for name, value in unflatten(flat.unsqueeze(0), problem.parameters).items()}
        return problem.loss(parameters, data.inputs, data.targets).mean()

    at = torch.cat([value.flatten() for value in problem.parameters.values()])
    dense: Tensor = jacrev(grad(loss))(at)
    return dense


def identity(problem: Problem) -> dict[str, Tensor]:
    return unflatten(torch.eye(problem.parameter_count, dtype=torch.float64), problem.parameters)


@pytest.mark.parametrize("name", networks())
def test_products_equal_the_dense_matrix_within_any_memory(name: str) -> None:
    problem, data = make_problem(name)
    dense = hessian(problem, data)
    few = torch.randn(3, problem.parameter_count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for memory_limit in (1, 40_000):
        found = flatten(Hessian(problem, data, memory_limit) @ unflatten(few, problem.parameters))
        assert relative_error(found, few @ dense) <= 1e-10
    assert relative_error(flatten(Hessian(problem, data) @ identity(problem)), dense) <= 1e-10


@pytest.mark.parametrize("name", networks())
def test_products_are_differences_of_gradients(name: str) -> None:
    """Torch's second derivatives of some functions are wrong in some orders of differentiation: here it takes none."""
    problem, data = make_problem(name)
    vectors = unflatten(randn(2, problem.parameter_count), problem.parameters)
    step = 1e-5

    def gradients(sign: int) -> Tensor:
        moved = [
            {key: value + sign * step * vectors[key][k] for key, value in problem.parameters.items()} for k in (0, 1)
        ]
        total = [grad(lambda at: problem.loss(at, data.inputs, data.targets).mean())(at) for at in moved]
        return torch.cat([flatten(block(each)) for each in total])

    difference = (gradients(1) - gradients(-1)) / (2 * step)
    assert relative_error(flatten(Hessian(problem, data) @ vectors), difference) <= 1e-7


def test_it_is_gauss_newton_for_a_linear_model_and_indefinite_for_a_network() -> None:
    problem, data = make_problem("logistic")
    found = flatten(Hessian(problem, data) @ identity(problem))
    assert relative_error(found, gauss_newton(problem, data)) <= 1e-10
    problem, data = make_problem("mlp without bias")
    found = flatten(Hessian(problem, data) @ identity(problem))
    assert float(torch.linalg.eigvalsh(found)[0]) < -1e-3


def test_products_are_counted_and_few_columns_fit_little_memory() -> None:
    problem, data = make_problem("logistic")
    for kind in (Hessian, GaussNewton):
        operator = kind(problem, data, memory_limit=1)
        operator @ identity(problem)
        assert operator.example_products == problem.parameter_count * len(data)


def test_no_examples_are_refused() -> None:
    problem, data = make_problem("logistic")
    with pytest.raises(ValueError, match="Hessian needs at least one example"):
        Hessian(problem, TensorData(data.inputs[:0], data.targets[:0]))
