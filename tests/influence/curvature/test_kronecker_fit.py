"""K-FAC and the diagonal against what defines them, written out densely."""

import pytest
import torch
from oracle import flatten, gauss_newton, make_problem, networks, output_hessians, relative_error, unflatten
from torch import Tensor, nn

from influence.curvature import Diagonal, LinearOperator, fit_diagonal, fit_ekfac, fit_kfac
from influence.layers import PerExampleGradients
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData


def dense(operator: LinearOperator, problem: Problem) -> Tensor:
    identity = torch.eye(problem.parameter_count, dtype=torch.float64)
    return flatten(operator @ unflatten(identity, problem.parameters))


def fit(problem: Problem, data: TensorData, kind: str = "kfac", **options: int) -> LinearOperator:
    gradients = PerExampleGradients(problem, data.inputs[:2])
    if kind == "diagonal":
        return fit_diagonal(gradients, data, **options)
    return fit_kfac(gradients, data, **options)


def one_layer(positions: int) -> tuple[Problem, TensorData]:
    """A linear layer used at every position, summed: gradients are the same at all positions."""

    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2).double()

        def forward(self, inputs: Tensor) -> Tensor:
            output: Tensor = self.layer(inputs).sum(dim=1)
            return output

    torch.manual_seed(0)
    inputs = torch.randn(6, positions, 3, dtype=torch.float64)
    return Problem(Summed(), SoftmaxCrossEntropy()), TensorData(inputs, torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("positions", [1, 4])
def test_kfac_is_the_kronecker_product_of_its_factors(positions: int) -> None:
    problem, data = one_layer(positions)
    appended = torch.cat([data.inputs, torch.ones(6, positions, 1, dtype=torch.float64)], dim=2).flatten(0, 1)
    activations = appended.T @ appended / len(appended)
    gradients = positions * output_hessians(problem, data).mean(dim=0)  # every position has the same g
    truth = torch.kron(gradients, activations)
    order = [0, 1, 2, 4, 5, 6, 3, 7]  # [out, in + 1] row by row -> weight, then bias
    found = dense(fit(problem, data, batch_size=4), problem)
    assert relative_error(found, truth[order][:, order]) <= 1e-10


def test_kfac_is_exact_for_one_example_used_once() -> None:
    problem, data = one_layer(1)
    single = TensorData(data.inputs[:1], data.targets[:1])
    gradients = PerExampleGradients(problem, data.inputs[:2])
    assert relative_error(dense(fit_kfac(gradients, single), problem), gauss_newton(problem, single)) <= 1e-10


def test_kfac_keeps_the_bases_of_ekfac_the_trace_of_the_rest_and_every_power() -> None:
    problem, data = make_problem("attention")
    gradients = PerExampleGradients(problem, data.inputs[:2])
    kfac, ekfac = fit_kfac(gradients, data), fit_ekfac(gradients, data)
    assert kfac.rest.keys() == ekfac.rest.keys()
    assert all(relative_error(kfac.rest[name], value) <= 1e-12 for name, value in ekfac.rest.items())
    for name, factors in ekfac.layers.items():
        for mine, theirs in (
            (kfac.layers[name].activation_basis, factors.activation_basis),
            (kfac.layers[name].gradient_basis, factors.gradient_basis),
        ):
            assert mine is not None and theirs is not None and torch.equal(mine, theirs)
    right = torch.ones(2, problem.parameter_count, dtype=torch.float64)
    shifted = dense(kfac, problem) + 0.1 * torch.eye(problem.parameter_count, dtype=torch.float64)
    found = flatten(kfac.power(unflatten(right, problem.parameters), -1.0, 0.1))
    assert relative_error(found, torch.linalg.solve(shifted, right.T).T) <= 1e-10


def test_of_a_side_too_wide_kfac_uses_the_diagonal() -> None:
    problem, data = one_layer(1)
    appended = torch.cat([data.inputs[:, 0], torch.ones(6, 1, dtype=torch.float64)], dim=1)
    truth = torch.kron(output_hessians(problem, data).mean(dim=0), appended.square().mean(dim=0).diag())
    order = [0, 1, 2, 4, 5, 6, 3, 7]
    assert relative_error(dense(fit(problem, data, widest=3), problem), truth[order][:, order]) <= 1e-10


@pytest.mark.parametrize("name", networks())
def test_the_diagonal_is_that_of_gauss_newton(name: str) -> None:
    problem, data = make_problem(name)
    truth = gauss_newton(problem, data).diagonal()
    for batch_size in (3, 100):
        diagonal = fit(problem, data, "diagonal", batch_size=batch_size)
        assert isinstance(diagonal, Diagonal)
        found = dense(diagonal, problem)
        assert relative_error(found, truth.diag()) <= 1e-10
        assert diagonal.mean_eigenvalue() == pytest.approx(float(truth.mean()), rel=1e-10)
    right = torch.ones(1, problem.parameter_count, dtype=torch.float64)
    root = flatten(diagonal.power(unflatten(right, problem.parameters), -0.5, 0.1))
    assert relative_error(root[0], (truth + 0.1) ** -0.5) <= 1e-10


def test_a_diagonal_with_zeros_is_not_inverted() -> None:
    diagonal = Diagonal({"weight": torch.tensor([1.0, 0.0])})
    with pytest.raises(ZeroDivisionError, match="add damping"):
        diagonal.power({"weight": torch.ones(1, 2)}, -1.0)


def test_every_example_is_reported_once_by_the_one_pass_fits() -> None:
    problem, data = make_problem("convolutions")
    gradients = PerExampleGradients(problem, data.inputs[:2])
    for one_pass in (fit_kfac, fit_diagonal):
        seen: list[int] = []
        one_pass(gradients, data, batch_size=3, on_batch=seen.append)
        assert seen == [3, 3, 1]
