"""What must not change an answer: batches, memory, the order of the examples, their repetition, the precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import make_problem, networks, relative_error
from torch import Tensor

from influence import Influence
from influence.inverse_curvature import Curvature
from influence.problem import Problem, TensorData

CURVATURES: list[Curvature] = ["gauss-newton", "hessian", "ekfac", "kfac", "diagonal", "identity"]
PLENTY = 2**30


def engine_of(problem: Problem, train: TensorData, curvature: Curvature, memory_limit: int = PLENTY) -> Influence:
    """Direct where exact, so that no tolerance hides a difference; the Hessian is damped to be positive definite."""
    damping = 30.0 if curvature == "hessian" else 0.1
    examples = (train.inputs, train.targets)
    return Influence(
        problem.model, problem.objective, examples, curvature, "direct", damping, memory_limit=memory_limit
    )


def answers(engine: Influence, queries: TensorData) -> tuple[Tensor, Tensor]:
    return engine.pairwise((queries.inputs, queries.targets)), engine.self_influence()


@settings(max_examples=25)
@given(
    name=st.sampled_from(list(networks())),
    curvature=st.sampled_from(CURVATURES),
    memory_limit=st.integers(1, 200_000),
    seed=st.integers(0, 1000),
    examples=st.integers(2, 7),
)
def test_neither_memory_nor_order_nor_company_changes_an_answer(
    name: str, curvature: Curvature, memory_limit: int, seed: int, examples: int
) -> None:
    problem, data = make_problem(name)
    train, queries = TensorData(data.inputs[:examples], data.targets[:examples]), TensorData(*data_of(data, [6, 0, 3]))
    pairwise, own = answers(engine_of(problem, train, curvature), queries)

    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    shuffled = TensorData(train.inputs[order], train.targets[order])
    found, found_own = answers(engine_of(problem, shuffled, curvature, memory_limit), queries)
    assert relative_error(found, pairwise[:, order]) <= 1e-9
    assert relative_error(found_own, own[order]) <= 1e-9

    alone = engine_of(problem, train, curvature, memory_limit).pairwise(data_of(data, [0]))
    assert relative_error(alone[0], pairwise[1]) <= 1e-9


def data_of(data: TensorData, indices: list[int]) -> tuple[Tensor, Tensor]:
    return data.inputs[indices], data.targets[indices]


@pytest.mark.parametrize("curvature", CURVATURES)
@pytest.mark.parametrize("name", ["convolutions", "attention"])
def test_a_training_set_taken_twice_halves_each_example_s_influence(name: str, curvature: Curvature) -> None:
    problem, data = make_problem(name)
    twice = TensorData(data.inputs.repeat(2, *[1] * (data.inputs.dim() - 1)), data.targets.repeat(2))
    pairwise, own = answers(engine_of(problem, data, curvature), data)
    found, found_own = answers(engine_of(problem, twice, curvature), data)
    assert relative_error(found, torch.cat([pairwise, pairwise], dim=1) / 2) <= 1e-9
    assert relative_error(found_own, torch.cat([own, own]) / 2) <= 1e-9


@pytest.mark.parametrize("curvature", CURVATURES)
@pytest.mark.parametrize("name", networks())
def test_single_precision_gives_the_answer_of_double_to_its_own_accuracy(name: str, curvature: Curvature) -> None:
    problem, data = make_problem(name)
    exact = answers(engine_of(problem, data, curvature), data)
    single = Problem(problem.model.float(), problem.objective)
    inputs = TensorData(data.inputs.float(), data.targets)
    for found, truth in zip(answers(engine_of(single, inputs, curvature), inputs), exact, strict=True):
        assert found.dtype == torch.float32
        assert relative_error(found.double(), truth) <= 1e-4
