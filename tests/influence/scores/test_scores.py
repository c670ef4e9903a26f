import pytest
import torch
from oracle import (
    decay_diagonal,
    flatten,
    gauss_newton,
    loss_gradients,
    make_problem,
    networks,
    relative_error,
    unflatten,
)

from influence.curvature import FactoredGaussNewton, Regularisation, fit_ekfac
from influence.inverse import conjugate_gradient
from influence.layers import PerExampleGradients, as_vectors
from influence.scores import Pairwise, SelfInfluence

DAMPING = 0.2


@pytest.mark.parametrize("name", networks())
def test_self_influence_equals_the_dense_quadratic_form(name: str) -> None:
    problem, data = make_problem(name)
    ekfac = fit_ekfac(PerExampleGradients(problem, data.inputs[:2]), data)
    shift = DAMPING + problem.objective.weight_decay
    count = problem.parameter_count
    identity = unflatten(torch.eye(count, dtype=torch.float64), problem.parameters)
    operator = flatten(ekfac @ identity) + shift * torch.eye(count, dtype=torch.float64)
    gradients = loss_gradients(problem, data)
    shares = gradients + (decay_diagonal(problem) * torch.cat([p.flatten() for p in problem.parameters.values()]))
    truth = (gradients * torch.linalg.solve(operator, shares.T).T).sum(dim=1) / len(data)
    score = SelfInfluence(ekfac, shift, len(data))
    assert relative_error(score.batch(data.inputs, data.targets), truth) <= 1e-10
    one_by_one = torch.cat([score.batch(*batch) for batch in data.batches(1)])
    assert relative_error(one_by_one, truth) <= 1e-10


@pytest.mark.parametrize("name", ["logistic", "convolutions", "attention"])
def test_pairwise_equals_the_dense_formula(name: str) -> None:
    problem, data = make_problem(name)
    gradients = PerExampleGradients(problem, data.inputs[:2])
    queries = gradients.read(data.inputs[:3], targets=data.targets[:3] * 0 + 1)
    right = as_vectors(gradients, queries)
    operator = FactoredGaussNewton(gradients, data) + Regularisation(problem) + DAMPING
    solution = conjugate_gradient(operator, right, tolerance=1e-12)
    assert bool(solution.certificate.converged.all())

    dense = (
        gauss_newton(problem, data)
        + decay_diagonal(problem).diag()
        + DAMPING * torch.eye(problem.parameter_count, dtype=torch.float64)
    )
    shares = loss_gradients(problem, data) + decay_diagonal(problem) * torch.cat(
        [p.flatten() for p in problem.parameters.values()]
    )
    truth = flatten(right) @ torch.linalg.solve(dense, shares.T) / len(data)
    pairwise = Pairwise(gradients, solution.vectors, len(data))
    assert relative_error(pairwise.batch(data.inputs, data.targets), truth) <= 1e-9
    split = torch.cat([pairwise.batch(*batch) for batch in data.batches(2)], dim=1)
    assert relative_error(split, truth) <= 1e-9
