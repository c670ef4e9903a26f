import pytest
import torch
from convex import KINDS, Trained, correlation, trained
from oracle import (
    decay_diagonal,
    flatten,
    loss_gradients,
    make_problem,
    networks,
    output_hessians,
    output_jacobians,
    relative_error,
    unflatten,
)
from torch import Tensor

from influence.curvature import FactoredGaussNewton, Regularisation
from influence.inverse import Direct, NotPositiveDefiniteError
from influence.layers import PerExampleGradients, as_vectors
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.retraining import retrain_without
from influence.scores import NewtonStep, Pairwise, measurement_changes
from influence.subset import take
from influence.vectors import Vectors, concatenate, scaled

DAMPING = 0.2


def dense_step(problem: Problem, data: TensorData, members: list[int], damping: float) -> Tensor:
    """The Newton step with every matrix written out, [P]."""
    jacobians, hessians = output_jacobians(problem, data), output_hessians(problem, data)
    each = torch.einsum("ncp,ncd,ndq->npq", jacobians, hessians, jacobians)
    decay = decay_diagonal(problem)
    theta = torch.cat([value.flatten() for value in problem.parameters.values()])
    shares = loss_gradients(problem, data) + decay * theta
    kept = len(data) - len(members)
    matrix = each.sum(dim=0) - each[members].sum(dim=0) + kept * (decay + damping).diag()
    return torch.linalg.solve(matrix, shares[members].sum(dim=0))


def step_of(problem: Problem, data: TensorData, memory_limit: int = 2**30) -> NewtonStep:
    gradients = PerExampleGradients(problem, data.inputs[:2])
    operator = FactoredGaussNewton(gradients, data) + Regularisation(problem)
    solve = Direct(operator, problem.parameters, DAMPING)
    return NewtonStep(gradients, solve, len(data), DAMPING, tolerance=1e-14, memory_limit=memory_limit)


@pytest.mark.parametrize("memory_limit", [1, 2**30])
@pytest.mark.parametrize("name", networks())
def test_it_equals_the_dense_step_of_any_network(name: str, memory_limit: int) -> None:
    problem, data = make_problem(name)
    blocks = list(step_of(problem, data, memory_limit).one_by_one(data))
    assert len(blocks) == (len(data) if memory_limit == 1 else 1)
    truth = torch.stack([dense_step(problem, data, [index], DAMPING) for index in range(len(data))])
    assert relative_error(flatten(concatenate(blocks)), truth) <= 1e-10


@pytest.mark.parametrize("sets", [[[0, 1], [3, 5]], [[0, 1, 2, 3, 4, 5]]])
def test_sets_of_any_size_equal_the_dense_step(sets: list[list[int]]) -> None:
    problem, data = make_problem("mlp without bias")
    found = step_of(problem, data).changes(data.inputs[torch.tensor(sets)], data.targets[torch.tensor(sets)])
    truth = torch.stack([dense_step(problem, data, members, DAMPING) for members in sets])
    assert relative_error(flatten(found), truth) <= 1e-10


def test_without_decay_and_damping() -> None:
    case = trained("least squares", 30)
    problem = Problem(case.problem.model, type(case.problem.objective)())
    gradients = PerExampleGradients(problem, case.data.inputs[:2])
    solve = Direct(FactoredGaussNewton(gradients, case.data), problem.parameters)
    (found,) = NewtonStep(gradients, solve, 30).one_by_one(case.data)
    truth = torch.stack([dense_step(problem, case.data, [index], 0.0) for index in range(30)])
    assert relative_error(flatten(found), truth) <= 1e-10


def predicted_and_actual(case: Trained, left_out: list[int]) -> tuple[Tensor, Tensor, Vectors, Vectors]:
    """Changes of the queries' losses and of the parameters, when each example is left out alone."""
    retrained = retrain_without(case.problem, case.data, [[index] for index in left_out], case.solve, tolerance=1e-13)
    actual = case.change_of(retrained.parameters)
    step = NewtonStep(case.gradients, case.solve, len(case.data), tolerance=1e-12)
    predicted = concatenate(list(step.one_by_one(take(case.data, left_out))))
    found, truth = (measurement_changes(case.problem, each, case.queries) for each in (predicted, actual))
    return found, truth, predicted, actual


@pytest.mark.parametrize("kind", ["least squares", "several outputs"])
def test_least_squares_needs_one_step(kind: str) -> None:
    found, truth, predicted, actual = predicted_and_actual(trained(kind, 25), list(range(25)))
    assert relative_error(flatten(predicted), flatten(actual)) <= 1e-9
    assert relative_error(found, truth) <= 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_exact_retraining(kind: str) -> None:
    case, left_out = trained(kind, 3000), list(range(60))
    found, truth, *_ = predicted_and_actual(case, left_out)
    assert correlation(found, truth) >= 0.999999
    assert float(((found - truth) / truth).abs().mean()) <= 0.002

    queries = case.gradients.read(case.queries.inputs, targets=case.queries.targets)
    pairwise = Pairwise(case.gradients, case.solve(as_vectors(case.gradients, queries)), len(case.data))
    plain = pairwise.batch(case.data.inputs[left_out], case.data.targets[left_out])
    assert correlation(plain, truth) >= 0.9999
    assert float((found - truth).norm()) < 0.5 * float((plain - truth).norm())


def test_a_leverage_above_one_is_an_error() -> None:
    problem, data = make_problem("logistic")
    gradients = PerExampleGradients(problem, data.inputs[:2])
    step = NewtonStep(gradients, lambda right: scaled(100.0, right), len(data))
    with pytest.raises(NotPositiveDefiniteError, match="leaving out set 0 of the block"):
        list(step.one_by_one(data))


def test_a_regularisation_larger_than_the_whole_is_an_error() -> None:
    model, data = make_problem("logistic")[0].model, make_problem("logistic")[1]
    problem = Problem(model, SoftmaxCrossEntropy(weight_decay=100.0))
    step = NewtonStep(PerExampleGradients(problem, data.inputs[:2]), lambda right: right, len(data))
    with pytest.raises(NotPositiveDefiniteError, match="without 1 of 7 examples cannot be inverted"):
        list(step.one_by_one(data))


def test_leaving_out_everything_is_refused() -> None:
    problem, data = make_problem("logistic")
    with pytest.raises(ValueError, match="a set of 7 of 7 examples cannot be left out"):
        step_of(problem, data).changes(data.inputs.unsqueeze(0), data.targets.unsqueeze(0))


def test_a_batch_of_float32_is_as_good_as_its_solver() -> None:
    problem, data = make_problem("logistic")
    truth = flatten(concatenate(list(step_of(problem, data).one_by_one(data))))
    single = Problem(problem.model.float(), problem.objective)
    step = step_of(single, TensorData(data.inputs.float(), data.targets))
    found = flatten(concatenate(list(step.one_by_one(TensorData(data.inputs.float(), data.targets)))))
    assert relative_error(found.double(), truth) <= 1e-5
    assert unflatten(found, single.parameters).keys() == problem.parameters.keys()
