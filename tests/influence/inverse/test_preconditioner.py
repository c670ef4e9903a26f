from typing import get_args

import pytest
import torch
from oracle import decay_diagonal, flatten, gauss_newton, make_problem, networks, relative_error, unflatten
from torch import Tensor, nn

from influence.curvature import FactoredGaussNewton, LinearOperator, Regularisation, fit_diagonal, fit_ekfac
from influence.inverse import PreconditionerName, choose_preconditioner, conjugate_gradient, make_preconditioner
from influence.layers import PerExampleGradients
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData

NAMES: list[PreconditionerName] = ["subsample", "ekfac", "diagonal", "nystrom"]
DAMPING = 0.05


def parts(problem: Problem, data: TensorData) -> tuple[LinearOperator, PerExampleGradients, TensorData]:
    gradients = PerExampleGradients(problem, data.inputs[:2])
    return FactoredGaussNewton(gradients, data) + Regularisation(problem), gradients, data


def matrix(name: PreconditionerName, problem: Problem, data: TensorData, damping: float) -> Tensor:
    """What the preconditioner multiplies by, [P, P]."""
    preconditioner = make_preconditioner(name, *parts(problem, data), damping)
    assert preconditioner is not None
    return flatten(preconditioner(unflatten(torch.eye(problem.parameter_count).double(), problem.parameters)))


@pytest.mark.parametrize("network", networks())
@pytest.mark.parametrize("name", NAMES)
def test_each_is_symmetric_positive_definite(name: PreconditionerName, network: str) -> None:
    problem, data = make_problem(network)
    found = matrix(name, problem, data, DAMPING)
    assert relative_error(found, found.T) <= 1e-8
    assert float(torch.linalg.eigvalsh((found + found.T) / 2)[0]) > 0


@pytest.mark.parametrize("network", ["mlp without bias", "sequence", "learned scale"])
def test_each_is_the_inverse_that_its_name_says(network: str) -> None:
    problem, data = make_problem(network)
    identity = torch.eye(problem.parameter_count, dtype=torch.float64)
    gradients, shift = PerExampleGradients(problem, data.inputs[:2]), DAMPING + problem.objective.weight_decay
    # 7 examples have at most 21 columns: all are drawn.
    truth = torch.linalg.inv(gauss_newton(problem, data) + shift * identity)
    assert relative_error(matrix("subsample", problem, data, DAMPING), truth) <= 1e-8
    fits: dict[PreconditionerName, LinearOperator] = {
        "ekfac": fit_ekfac(gradients, data),
        "diagonal": fit_diagonal(gradients, data),
    }
    for name, fitted in fits.items():
        dense = flatten(fitted @ unflatten(identity, problem.parameters))
        expected = torch.linalg.inv(dense + shift * identity)
        assert relative_error(matrix(name, problem, data, DAMPING), expected) <= 1e-8


def test_nystrom_of_full_rank_is_the_inverse_itself() -> None:
    problem, data = make_problem("logistic")  # 21 parameters: fewer than its rank
    damped = gauss_newton(problem, data) + decay_diagonal(problem).diag() + DAMPING * torch.eye(21).double()
    assert relative_error(matrix("nystrom", problem, data, DAMPING), torch.linalg.inv(damped)) <= 1e-6


def hard(examples: int = 400) -> tuple[Problem, TensorData]:
    """A network in float64 on features of very different scales."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    inputs = torch.randn(examples, 30, dtype=torch.float64) * torch.logspace(0.5, -1.5, 30, dtype=torch.float64)
    return Problem(model, SoftmaxCrossEntropy(1e-4)), TensorData(inputs, torch.randint(4, (examples,)))


def test_all_lead_to_the_same_answer_with_true_certificates_and_the_default_in_fewest_steps() -> None:
    problem, data = hard()
    operator, gradients, data = parts(problem, data)
    right = unflatten(torch.randn(5, problem.parameter_count, dtype=torch.float64), problem.parameters)
    dense = gauss_newton(problem, data) + (decay_diagonal(problem) + 1e-4).diag()
    truth, steps = torch.linalg.solve(dense, flatten(right).T).T, {}
    for name in get_args(PreconditionerName):
        preconditioner = make_preconditioner(name, operator, gradients, data, 1e-4)
        solution = conjugate_gradient(operator + 1e-4, right, 1e-8, 2000, preconditioner)
        found, certificate = flatten(solution.vectors), solution.certificate
        residual = (flatten(right) - found @ dense).norm(dim=1) / flatten(right).norm(dim=1)
        torch.testing.assert_close(certificate.relative_residual, residual, rtol=1e-3, atol=1e-11)
        assert bool(certificate.converged.all()), name
        assert relative_error(found, truth) <= 1e-5, name
        steps[name] = int(certificate.iterations.max())
    assert steps["auto"] == min(steps.values()) and 3 * steps["auto"] <= steps["none"], steps


@pytest.mark.parametrize("name", NAMES)
def test_a_column_solved_alone_takes_the_same_steps(name: PreconditionerName) -> None:
    problem, data = hard(60)
    operator, gradients, data = parts(problem, data)
    preconditioner = make_preconditioner(name, operator, gradients, data, 1e-3)
    flat = torch.randn(3, problem.parameter_count, dtype=torch.float64)
    flat[1] = 0.0
    together = conjugate_gradient(operator + 1e-3, unflatten(flat, problem.parameters), 1e-3, 500, preconditioner)
    assert int(together.certificate.iterations[1]) == 0 and not bool(flatten(together.vectors)[1].any())
    for column in (0, 2):
        own = unflatten(flat[column : column + 1], problem.parameters)
        alone = conjugate_gradient(operator + 1e-3, own, 1e-3, 500, preconditioner)
        assert int(alone.certificate.iterations[0]) == int(together.certificate.iterations[column])
        torch.testing.assert_close(
            flatten(alone.vectors)[0], flatten(together.vectors)[column], rtol=1e-6, atol=1e-8 * float(flat.norm())
        )


def test_the_choice_follows_damping_and_memory() -> None:
    problem, data = make_problem("mlp without bias")
    gradients = PerExampleGradients(problem, data.inputs[:2])
    assert choose_preconditioner(gradients, data) == "subsample"
    assert choose_preconditioner(gradients, data, memory_limit=1000) == "ekfac"
    undamped = PerExampleGradients(Problem(problem.model, SoftmaxCrossEntropy()), data.inputs[:2])
    assert choose_preconditioner(undamped, data) == "none"
    assert choose_preconditioner(undamped, data, damping=1e-3) == "subsample"
    operator = FactoredGaussNewton(undamped, data)
    assert make_preconditioner("auto", operator, undamped, data) is None


def test_what_it_cannot_do_is_named() -> None:
    model, data = make_problem("logistic")[0].model, make_problem("logistic")[1]
    undamped = Problem(model, SoftmaxCrossEntropy())
    for name in NAMES[:3]:
        with pytest.raises(ZeroDivisionError, match="damping or weight decay"):
            make_preconditioner(name, *parts(undamped, data))
    with pytest.raises(ValueError, match=r"preconditioner is one of auto, none, .*, not 'jacobi'"):
        make_preconditioner("jacobi", *parts(undamped, data), 0.1)  # type: ignore[arg-type]
