import pytest
import torch
from oracle import make_problem, networks, relative_error
from torch import Tensor

from influence.measurement import Logit, Measurement
from influence.problem import Problem, TensorData
from influence.scores import measurement_changes
from influence.vectors import Vectors


def steps(problem: Problem, size: float, count: int = 3) -> Vectors:
    generator = torch.Generator().manual_seed(6)
    return {
        name: size * torch.randn(count, *value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
        for name, value in problem.parameters.items()
    }


def difference(problem: Problem, data: TensorData, changes: Vectors) -> Tensor:
    """By evaluating the loss twice, [Q, K]."""
    before = problem.loss(problem.parameters, data.inputs, data.targets)
    columns = []
    for index in range(len(next(iter(changes.values())))):
        moved = {name: value + changes[name][index] for name, value in problem.parameters.items()}
        columns.append(problem.loss(moved, data.inputs, data.targets) - before)
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("memory_limit", [1, 2**30])
@pytest.mark.parametrize("name", [name for name in networks() if name != "convolutions"])
def test_it_equals_the_difference(name: str, memory_limit: int) -> None:
    problem, data = make_problem(name)
    changes = steps(problem, 1e-3)
    found = measurement_changes(problem, changes, data, memory_limit=memory_limit)
    assert relative_error(found, difference(problem, data, changes)) <= 1e-11


def test_small_changes_lose_no_digits_in_float32() -> None:
    problem, data = make_problem("mlp without bias")
    changes = steps(problem, 1e-7)
    truth = measurement_changes(problem, changes, data)
    single = Problem(problem.model.float(), problem.objective)
    queries = TensorData(data.inputs.float(), data.targets)
    small = {name: value.float() for name, value in changes.items()}
    assert relative_error(measurement_changes(single, small, queries), truth) <= 1e-5
    assert relative_error(difference(single, queries, small), truth) > 1e-2


@pytest.mark.parametrize("measurement", ["margin", Logit(1), lambda outputs, targets: outputs.square().sum(dim=-1)])
def test_any_measurement_can_be_asked_for(measurement: Measurement) -> None:
    problem, data = make_problem("logistic")
    change = steps(problem, 1e-2, count=1)
    moved = {name: value + change[name][0] for name, value in problem.parameters.items()}
    before, after = (problem.outputs(at, data.inputs).detach() for at in (problem.parameters, moved))
    measure = {"margin": problem.objective.margin}.get(measurement, measurement)  # type: ignore[call-overload]
    truth = measure(after, data.targets) - measure(before, data.targets)
    assert relative_error(measurement_changes(problem, change, data, measurement)[:, 0], truth) <= 1e-10
