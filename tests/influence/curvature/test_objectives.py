"""Curvature and influence under every objective, against the dense float64 oracles."""

import pytest
import torch
from layer_checks import check, randomised
from objective_cases import DECAY, EXAMPLES, Saddle, cases, draw
from oracle import decay_diagonal, flatten, gauss_newton, loss_gradients, relative_error, unflatten
from torch import Tensor, nn

from influence import Influence
from influence.curvature import FactoredGaussNewton, GaussNewton, Hessian, fit_ekfac
from influence.inverse_curvature import Curvature, SolverName
from influence.layers import PerExampleGradients
from influence.objective import Objective
from influence.problem import Problem, TensorData

CASES = cases()
DAMPING = 0.1


def network(classes: int, linear: bool = False) -> nn.Module:
    layers = [nn.Linear(5, classes)] if linear else [nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, classes)]
    return randomised(nn.Sequential(*layers))


def make(name: str, linear: bool = False) -> tuple[Problem, TensorData]:
    case = CASES[name]
    return Problem(network(case.classes, linear), case.objective), TensorData(draw(EXAMPLES, 5, seed=7), case.targets)


def hessian(problem: Problem, data: TensorData) -> Tensor:
    """The Hessian of the mean loss by differentiating twice, [P, P]."""

    def loss(flat: Tensor) -> Tensor:
        parameters = {name: value[0] for name, value in unflatten(flat.unsqueeze(0), problem.parameters).items()}
        return problem.loss(parameters, data.inputs, data.targets).mean()

    at = torch.cat([value.flatten() for value in problem.parameters.values()])
    dense: Tensor = torch.autograd.functional.hessian(loss, at)
    return dense


def identity(problem: Problem) -> dict[str, Tensor]:
    return unflatten(torch.eye(problem.parameter_count, dtype=torch.float64), problem.parameters)


@pytest.mark.parametrize("name", CASES)
def test_gradients_ekfac_and_self_influence_are_exact(name: str) -> None:
    case = CASES[name]
    inputs = draw(EXAMPLES, 5, seed=7)
    check(network(case.classes), inputs, {"0", "2"}, objective=case.objective, targets=case.targets)


@pytest.mark.parametrize("memory_limit", [1, 2**30])
@pytest.mark.parametrize("name", CASES)
def test_both_forms_of_gauss_newton_and_the_hessian_equal_the_dense_matrices(name: str, memory_limit: int) -> None:
    problem, data = make(name)
    gradients = PerExampleGradients(problem, data.inputs[:2])
    truth = gauss_newton(problem, data)
    for operator in (GaussNewton(problem, data, memory_limit), FactoredGaussNewton(gradients, data, memory_limit)):
        assert relative_error(flatten(operator @ identity(problem)), truth) <= 1e-10
    found = flatten(Hessian(problem, data, memory_limit) @ identity(problem))
    assert relative_error(found, hessian(problem, data)) <= 1e-10


@pytest.mark.parametrize("name", CASES)
def test_for_a_linear_model_gauss_newton_is_the_hessian(name: str) -> None:
    problem, data = make(name, linear=True)
    found = flatten(GaussNewton(problem, data) @ identity(problem))
    assert relative_error(found, hessian(problem, data)) <= 1e-10


@pytest.mark.parametrize(
    ("curvature", "solver"),
    [("gauss-newton", "direct"), ("hessian", "direct"), ("gauss-newton", "conjugate-gradient")],
)
@pytest.mark.parametrize("name", CASES)
def test_influence_is_the_dense_formula(name: str, curvature: Curvature, solver: SolverName) -> None:
    problem, data = make(name, linear=True)
    engine = Influence(
        problem.model,
        problem.objective,
        (data.inputs, data.targets),
        curvature,
        solver,
        DAMPING,
        tolerance=1e-12,
    )
    gradients = loss_gradients(problem, data)
    theta = torch.cat([value.flatten() for value in problem.parameters.values()])
    decay = decay_diagonal(problem)
    matrix = hessian(problem, data) + (decay + DAMPING).diag()
    truth = gradients[:3] @ torch.linalg.solve(matrix, (gradients + decay * theta).T) / len(data)
    assert relative_error(engine.pairwise((data.inputs[:3], data.targets[:3])), truth) <= 1e-10


def test_under_the_hinge_only_regularisation_curves() -> None:
    problem, data = make("hinge")
    gradients = PerExampleGradients(problem, data.inputs[:2])
    ekfac = fit_ekfac(gradients, data)
    assert ekfac.mean_eigenvalue() == 0.0
    found = flatten(ekfac.power(identity(problem), -1.0, DECAY))
    assert relative_error(found, torch.eye(problem.parameter_count, dtype=torch.float64) / DECAY) <= 1e-12


@pytest.mark.parametrize("name", ["squared error", "one's own"])
def test_more_outputs_than_the_limit_are_sampled_without_bias(name: str) -> None:
    problem, data = make(name)
    many = TensorData(data.inputs.repeat(400, 1), data.targets.repeat(400, 1))
    gradients = PerExampleGradients(problem, data.inputs[:2])
    exact = fit_ekfac(gradients, many)
    sampled = fit_ekfac(gradients, many, exact_labels=2, batch_size=EXAMPLES)  # each batch has draws of its own
    assert sampled.mean_eigenvalue() == pytest.approx(exact.mean_eigenvalue(), rel=0.05)


def test_gauss_newton_of_a_loss_that_is_not_convex_is_as_defined_or_an_error() -> None:
    problem = Problem(network(2), Saddle())
    data = TensorData(draw(EXAMPLES, 5, seed=7), torch.zeros(EXAMPLES))
    truth = gauss_newton(problem, data)
    assert float(torch.linalg.eigvalsh(truth)[0]) < -0.1
    assert relative_error(flatten(GaussNewton(problem, data) @ identity(problem)), truth) <= 1e-10
    gradients = PerExampleGradients(problem, data.inputs[:2])
    with pytest.raises(ValueError, match="Saddle is not convex in the outputs"):
        FactoredGaussNewton(gradients, data) @ identity(problem)
    with pytest.raises(ValueError, match="Saddle is not convex in the outputs"):
        fit_ekfac(gradients, data)


def test_an_objective_that_gives_one_number_for_the_whole_batch_is_refused() -> None:
    class Mean(Objective):
        def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs.square().mean()

    gradients = PerExampleGradients(Problem(network(2), Mean()), draw(2, 5, seed=7))
    with pytest.raises(ValueError, match=r"of 4 examples must be of shape \[4\], one number an example, not \[\]"):
        gradients.read(draw(4, 5, seed=7), targets=torch.zeros(4))
