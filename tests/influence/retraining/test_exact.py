import pytest
import torch
from convex import KINDS, minimised, trained
from oracle import flatten, relative_error

from influence.problem import Problem, TensorData
from influence.retraining import NotConvergedError, retrain_without
from influence.vectors import scaled

SETS = [[0], [7], [39], [1, 2, 3], list(range(5, 20))]


def without(data: TensorData, indices: list[int]) -> TensorData:
    keep = torch.ones(len(data), dtype=torch.bool)
    keep[indices] = False
    return TensorData(data.inputs[keep], data.targets[keep])


@pytest.mark.parametrize("memory_limit", [1, 2**30])
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_the_minimum_that_training_from_zero_finds(kind: str, memory_limit: int) -> None:
    case = trained(kind, 40)
    found = retrain_without(case.problem, case.data, SETS, case.solve, memory_limit=memory_limit)
    assert float(found.gradient_norm.max()) <= 1e-10
    outputs, bias = case.problem.parameters["weight"].shape[0], "bias" in case.problem.parameters
    truths = [minimised(case.problem.objective, without(case.data, part), outputs, bias) for part in SETS]
    truth = {name: torch.stack([each.parameters[name] for each in truths]) for name in case.problem.parameters}
    assert relative_error(flatten(case.change_of(found.parameters)), flatten(case.change_of(truth))) <= 1e-7


def test_each_pass_serves_all_sets_and_a_poor_solver_only_costs_more_of_them() -> None:
    case, poor = trained("softmax", 40), trained("softmax", 40, damping=0.5)
    singles = [[index] for index in range(40)]
    exact = retrain_without(case.problem, case.data, singles, case.solve)
    damped = retrain_without(case.problem, case.data, singles, poor.solve, max_passes=500)
    assert exact.passes < damped.passes
    for name, value in exact.parameters.items():
        torch.testing.assert_close(damped.parameters[name], value, rtol=0, atol=1e-8)


def test_steps_that_are_too_long_are_halved() -> None:
    case = trained("logistic", 40)
    found = retrain_without(case.problem, case.data, [[3]], lambda right: scaled(5.0, case.solve(right)))
    truth = retrain_without(case.problem, case.data, [[3]], case.solve)
    assert relative_error(flatten(found.parameters), flatten(truth.parameters)) <= 1e-8


def test_what_does_not_converge_is_an_error() -> None:
    case = trained("softmax", 40)
    with pytest.raises(NotConvergedError, match="5 of 5 sets are not retrained after 1 passes"):
        retrain_without(case.problem, case.data, SETS, case.solve, max_passes=1)
    with pytest.raises(NotConvergedError, match="not retrained"):
        retrain_without(case.problem, case.data, SETS, lambda right: scaled(-1.0, case.solve(right)))
    with pytest.raises(NotConvergedError, match="not retrained"):
        retrain_without(case.problem, case.data, SETS, lambda right: scaled(torch.nan, case.solve(right)))


def test_bad_input_is_named() -> None:
    case = trained("logistic", 10)
    single = Problem(torch.nn.Linear(4, 1), case.problem.objective)
    with pytest.raises(ValueError, match="needs a model in float64"):
        retrain_without(single, case.data, [[0]], case.solve)
    with pytest.raises(ValueError, match="names one of them twice"):
        retrain_without(case.problem, case.data, [[0], [1, 1]], case.solve)
    with pytest.raises(ValueError, match="a set of 10 of 10 examples cannot be left out"):
        retrain_without(case.problem, case.data, [range(10)], case.solve)
