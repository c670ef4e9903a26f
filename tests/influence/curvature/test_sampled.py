import pytest
import torch
from oracle import flatten, gauss_newton, make_problem, networks, relative_error, unflatten
from torch import Tensor, nn

from influence.curvature import LinearOperator, SampledGaussNewton, sample_gauss_newton
from influence.layers import PerExampleGradients
from influence.objective import Hinge, SoftmaxCrossEntropy
from influence.problem import Problem, TensorData

EXACT = 1e-10


def sample(
    problem: Problem, data: TensorData, columns: int, memory_limit: int = 2**30, seed: int = 0
) -> LinearOperator:
    return sample_gauss_newton(PerExampleGradients(problem, data.inputs[:2]), data, columns, memory_limit, seed)


def dense(operator: LinearOperator, problem: Problem) -> Tensor:
    identity = torch.eye(problem.parameter_count, dtype=torch.float64)
    return flatten(operator @ unflatten(identity, problem.parameters))


@pytest.mark.parametrize("name", networks())
def test_with_every_column_it_is_the_gauss_newton_matrix(name: str) -> None:
    problem, data = make_problem(name)
    assert relative_error(dense(sample(problem, data, 100), problem), gauss_newton(problem, data)) <= EXACT


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("shift", [1e-3, 1.0])
def test_its_inverse_is_that_of_its_dense_matrix_and_positive_definite(name: str, shift: float) -> None:
    problem, data = make_problem(name)
    identity = torch.eye(problem.parameter_count, dtype=torch.float64)
    sampled = sample(problem, data, 5)
    inverse = flatten(sampled.power(unflatten(identity, problem.parameters), -1.0, shift))
    assert relative_error(inverse, torch.linalg.inv(dense(sampled, problem) + shift * identity)) <= EXACT
    assert relative_error(inverse, inverse.T) <= EXACT
    assert float(torch.linalg.eigvalsh((inverse + inverse.T) / 2)[0]) > 0


def test_over_draws_its_mean_is_the_gauss_newton_matrix() -> None:
    problem, data = make_problem("mlp without bias", examples=20)
    truth = gauss_newton(problem, data)
    draws = torch.stack([dense(sample(problem, data, 8, seed=seed), problem) for seed in range(300)])
    spread = draws.std(dim=0).norm() / 300**0.5
    assert float(spread) <= 0.1 * float(truth.norm())
    assert float((draws.mean(dim=0) - truth).norm()) <= 2 * float(spread)


@pytest.mark.parametrize("name", ["convolutions", "learned scale", "logistic"])
def test_the_memory_limit_changes_nothing_but_rounding(name: str) -> None:
    problem, data = make_problem(name)
    whole, little = sample(problem, data, 6), sample(problem, data, 6, memory_limit=1)
    assert isinstance(whole, SampledGaussNewton) and isinstance(little, SampledGaussNewton)
    assert len(little.blocks) > len(whole.blocks) and little.columns == whole.columns
    assert relative_error(little.gram, whole.gram) <= EXACT
    assert relative_error(dense(little, problem), dense(whole, problem)) <= EXACT


def test_in_float32_it_stays_accurate_where_the_shift_is_tiny() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Linear(40, 3, bias=False), 30 * torch.randn(50, 40)
    inputs[:, 20:] *= 1e-2  # so that some columns are as small as the shift and others far larger
    problem, data = Problem(model, SoftmaxCrossEntropy()), TensorData(inputs, torch.zeros(50, dtype=torch.int64))
    shift, right = 1e-5, torch.randn(4, 120)
    sampled = sample(problem, data, 20)
    found = flatten(sampled.power(unflatten(right, problem.parameters), -1.0, shift)).double()
    exact = Problem(nn.Linear(40, 3, bias=False).double(), problem.objective)
    exact.parameters["weight"].copy_(problem.parameters["weight"])
    columns = flatten(sampled @ unflatten(torch.eye(120), problem.parameters)).double()
    largest = float(torch.linalg.eigvalsh(columns)[-1])
    assert largest / shift > 1e6
    twin = sample(exact, TensorData(inputs.double(), data.targets), 20)
    truth = flatten(twin.power(unflatten(right.double(), exact.parameters), -1.0, shift))
    assert relative_error(found, truth) <= 1e-5
    assert bool(((found * right).sum(dim=1) > 0).all())


def test_a_loss_without_curvature_leaves_the_shift_alone() -> None:
    problem = Problem(nn.Linear(3, 1).double(), Hinge())
    data = TensorData(torch.randn(5, 3, dtype=torch.float64), torch.ones(5, dtype=torch.float64))
    sampled = sample(problem, data, 4)
    vectors = unflatten(torch.randn(2, 4, dtype=torch.float64), problem.parameters)
    assert not bool(flatten(sampled @ vectors).any())
    torch.testing.assert_close(flatten(sampled.power(vectors, -1.0, 0.5)), 2 * flatten(vectors))


def test_what_it_cannot_do_is_named() -> None:
    problem, data = make_problem("logistic")
    sampled = sample(problem, data, 5)
    vectors = unflatten(torch.ones(1, problem.parameter_count, dtype=torch.float64), problem.parameters)
    with pytest.raises(ZeroDivisionError, match="add damping"):
        sampled.power(vectors, -1.0, 0.0)
    with pytest.raises(TypeError, match=r"no power -0\.5"):
        sampled.power(vectors, -0.5, 1.0)
    with pytest.raises(ValueError, match="at least one example"):
        sample_gauss_newton(
            PerExampleGradients(problem, data.inputs[:2]), TensorData(data.inputs[:0], data.targets[:0]), 5
        )
    with pytest.raises(ValueError, match="at least one term"):
        sample(problem, data, 0)
    twice = sampled.power(vectors, 2.0, 0.1)
    matrix = dense(sampled, problem) + 0.1 * torch.eye(problem.parameter_count, dtype=torch.float64)
    torch.testing.assert_close(flatten(twice), flatten(vectors) @ matrix @ matrix)
