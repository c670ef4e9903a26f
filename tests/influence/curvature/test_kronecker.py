import pytest
import torch
from oracle import (
    flatten,
    gauss_newton,
    make_problem,
    networks,
    output_hessians,
    output_jacobians,
    relative_error,
    unflatten,
)
from torch import Tensor

from influence.curvature import EKFAC, fit_ekfac
from influence.layers import PerExampleGradients
from influence.problem import Problem, TensorData


def fit(problem: Problem, data: TensorData, **options: int) -> EKFAC:
    return fit_ekfac(PerExampleGradients(problem, data.inputs[:2]), data, **options)


def dense(ekfac: EKFAC) -> Tensor:
    parameters = ekfac.gradients.problem.parameters
    count = ekfac.gradients.problem.parameter_count
    return flatten(ekfac @ unflatten(torch.eye(count, dtype=torch.float64), parameters))


@pytest.mark.parametrize("name", networks())
def test_eigenvalues_are_the_diagonal_of_gauss_newton_in_the_eigenbasis(name: str) -> None:
    """What defines EK-FAC: in its own basis, and in the coordinates of the rest, it has G's diagonal."""
    problem, data = make_problem(name)
    ekfac = fit(problem, data, batch_size=3)
    truth = gauss_newton(problem, data)
    for layer in ekfac.gradients.layers:
        factors = ekfac.layers[layer.name]
        out, width = factors.eigenvalues.shape
        directions = factors.rotate_back(torch.eye(out * width, dtype=torch.float64).view(-1, out, width))
        vectors = {
            key: torch.zeros(len(directions), *value.shape).double() for key, value in problem.parameters.items()
        }
        vectors[layer.weight] = directions[..., : -1 if layer.bias else None].reshape(vectors[layer.weight].shape)
        if layer.bias:
            vectors[layer.bias] = directions[..., -1]
        flat = flatten(vectors)
        assert relative_error(factors.eigenvalues.flatten(), torch.einsum("kp,pq,kq->k", flat, truth, flat)) <= 1e-10
    rest = unflatten(truth.diagonal().unsqueeze(0), problem.parameters)
    for key, value in ekfac.rest.items():
        assert relative_error(value, rest[key][0]) <= 1e-10
    assert ekfac.mean_eigenvalue() == pytest.approx(float(truth.trace()) / problem.parameter_count, rel=1e-10)


def test_bases_are_those_of_the_second_moments() -> None:
    """A and S of the last layer of an MLP, written out."""
    problem, data = make_problem("mlp without bias")
    factors = fit(problem, data).layers["2"]
    with torch.no_grad():
        hidden = torch.tanh(problem.model[0](data.inputs))
    appended = torch.cat([hidden, torch.ones(len(data), 1, dtype=torch.float64)], dim=1)
    assert factors.activation_basis is not None and factors.gradient_basis is not None
    for basis, moment in (
        (factors.activation_basis, appended.T @ appended),
        (factors.gradient_basis, output_hessians(problem, data).sum(dim=0)),
    ):
        rotated = basis.T @ moment @ basis
        assert relative_error(rotated.diagonal().diag(), rotated) <= 1e-10


@pytest.mark.parametrize("name", ["convolutions", "attention"])
def test_powers_are_powers_of_the_dense_matrix(name: str) -> None:
    problem, data = make_problem(name)
    ekfac = fit(problem, data)
    matrix = dense(ekfac) + 0.1 * torch.eye(problem.parameter_count, dtype=torch.float64)
    right = torch.randn(3, problem.parameter_count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vectors = unflatten(right, problem.parameters)
    inverse = flatten(ekfac.power(vectors, -1.0, 0.1))
    assert relative_error(inverse, torch.linalg.solve(matrix, right.T).T) <= 1e-10
    half = ekfac.power(ekfac.power(vectors, -0.5, 0.1), -0.5, 0.1)
    assert relative_error(flatten(half), inverse) <= 1e-10


def test_a_singular_operator_is_not_inverted() -> None:
    problem, data = make_problem("convolutions", examples=1)
    ekfac = fit(problem, data)
    vectors = unflatten(torch.ones(1, problem.parameter_count, dtype=torch.float64), problem.parameters)
    ekfac.rest["unused"] = torch.zeros(1, dtype=torch.float64)
    with pytest.raises(ZeroDivisionError, match="add damping"):
        ekfac.power(vectors, -1.0, 0.0)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_the_fit_does_not_depend_on_the_batch_size(batch_size: int) -> None:
    problem, data = make_problem("convolutions")
    assert relative_error(dense(fit(problem, data, batch_size=batch_size)), dense(fit(problem, data))) <= 1e-10


def test_a_layer_too_wide_keeps_its_own_coordinates_and_exact_eigenvalues() -> None:
    problem, data = make_problem("mlp without bias")
    ekfac = fit(problem, data, widest=4)
    assert ekfac.layers["0"].activation_basis is None and ekfac.layers["0"].gradient_basis is not None
    jacobians = output_jacobians(problem, data)
    assert ekfac.mean_eigenvalue() * problem.parameter_count == pytest.approx(
        float(torch.einsum("ncp,ncd,ndp->", jacobians, output_hessians(problem, data), jacobians)) / len(data)
    )


def test_it_is_stored_and_read_back_to_the_bit() -> None:
    problem, data = make_problem("grouped convolution and norm")
    ekfac = fit(problem, data)
    again = EKFAC.from_state(ekfac.gradients, ekfac.state())
    assert torch.equal(dense(ekfac), dense(again))
