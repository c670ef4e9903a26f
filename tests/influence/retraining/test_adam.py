import pytest
import torch
from torch import Tensor, nn

from influence import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.retraining import NOBODY, AdamState, continue_adam, shuffled_batches
from influence.vectors import Vectors, norm

DECAY, COUNT = 0.03, 12


def case(dtype: torch.dtype = torch.float64) -> tuple[Problem, TensorData]:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).to(dtype)
    data = TensorData(torch.randn(COUNT, 5, dtype=dtype), torch.randint(3, (COUNT,)))
    return Problem(model, SoftmaxCrossEntropy(DECAY)), data


def by_torch(problem: Problem, data: TensorData, batches: list[Tensor], rate: float) -> dict[str, Tensor]:
    """torch's own Adam, on the mean over each batch."""
    leaves = {name: value.clone().requires_grad_(True) for name, value in problem.parameters.items()}
    optimiser = torch.optim.Adam(leaves.values(), lr=rate)
    for batch in batches:
        optimiser.zero_grad()
        loss = problem.loss(leaves, data.inputs[batch], data.targets[batch]).mean()
        (loss + problem.objective.regularisation(leaves)).backward()
        optimiser.step()
    return {name: value.detach() for name, value in leaves.items()}


def assert_same(found: Vectors, expected: dict[str, Tensor], model: int = 0) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name][model], value, rtol=1e-9, atol=1e-11)


def batches(steps: int, size: int = 4) -> Tensor:
    return shuffled_batches(COUNT, size, steps, torch.Generator().manual_seed(1))


def test_it_takes_the_steps_of_adam_and_goes_on_where_it_stopped() -> None:
    problem, data = case()
    order = batches(30)
    expected = by_torch(problem, data, list(order), rate=0.02)
    whole = continue_adam(problem, data, AdamState.start(problem), order, 0.02)
    assert_same(whole.parameters, expected)
    part = continue_adam(problem, data, AdamState.start(problem), order[:11], 0.02)
    halves = continue_adam(problem, data, part, order[11:], 0.02)
    assert halves.steps == whole.steps == 30
    assert all(halves.parameters[name].equal(value) for name, value in whole.parameters.items())


@pytest.mark.parametrize("together", [1, 3])
def test_a_model_without_an_example_trains_on_the_others(together: int) -> None:
    problem, data = case()
    everything = torch.arange(COUNT).repeat(20, 1)
    left_out = torch.tensor([NOBODY, 0, 7])
    start = AdamState.start(problem).repeated(3)
    found = continue_adam(problem, data, start, everything, 0.02, left_out, together)
    for model, index in enumerate(left_out.tolist()):
        kept = (torch.arange(COUNT) != index).nonzero().squeeze(1)
        assert_same(found.parameters, by_torch(problem, data, [kept] * 20, rate=0.02), model)
    assert float(norm({name: value[1:] - value[:1] for name, value in found.parameters.items()}).min()) > 1e-3


def test_in_a_batch_the_example_counts_nothing_and_the_others_a_little_more() -> None:
    problem, data = case()
    order = batches(3)
    found = continue_adam(
        problem, data, AdamState.start(problem).repeated(2), order, 0.0, torch.tensor([NOBODY, int(order[2, 1])])
    )
    expected, parameters = torch.zeros(3, 4, dtype=torch.float64), problem.parameters
    for batch in order:
        weights = (batch != order[2, 1]).double() * COUNT / (COUNT - 1) / len(batch)
        leaf = parameters["2.weight"].clone().requires_grad_(True)
        losses = problem.loss({**parameters, "2.weight": leaf}, data.inputs[batch], data.targets[batch])
        (slope,) = torch.autograd.grad((weights * losses).sum() + DECAY / 2 * leaf.square().sum(), leaf)
        expected = 0.9 * expected + 0.1 * slope
    torch.testing.assert_close(found.mean["2.weight"][1], expected, rtol=1e-10, atol=1e-13)
    assert not torch.allclose(found.mean["2.weight"][0], expected, rtol=1e-3)


def test_steps_below_the_rounding_of_a_float32_are_not_lost() -> None:
    single, data = case(torch.float32)
    start = AdamState.start(single)
    found = continue_adam(single, data, start, torch.arange(COUNT).repeat(50, 1), 1e-9)
    moved = (found.parameters["0.weight"] - start.parameters["0.weight"]).abs()
    assert found.parameters["0.weight"].dtype == torch.float64
    torch.testing.assert_close(moved.median(), torch.tensor(5e-8, dtype=torch.float64), rtol=1e-3, atol=0)


def test_every_epoch_is_a_new_order_of_all_examples() -> None:
    order = shuffled_batches(11, 3, 8, torch.Generator().manual_seed(0))
    assert order.shape == (8, 3)
    first, second = order[:3].flatten(), order[3:6].flatten()
    assert len(first.unique()) == len(second.unique()) == 9 and not first.equal(second)
    assert order.equal(shuffled_batches(11, 3, 8, torch.Generator().manual_seed(0)))
    assert shuffled_batches(11, 3, 0, torch.Generator()).shape == (0, 3)


def test_bad_input_is_named() -> None:
    problem, data = case()
    start = AdamState.start(problem).repeated(2)
    with pytest.raises(ValueError, match="one position for each of 2 models"):
        continue_adam(problem, data, start, batches(1), 0.1, torch.tensor([3]))
    with pytest.raises(ValueError, match="no training example 12: positions go from 0 to 11"):
        continue_adam(problem, data, start, batches(1), 0.1, torch.tensor([3, 12]))
    with pytest.raises(ValueError, match="batch of 20 cannot be drawn from 12"):
        shuffled_batches(12, 20, 1, torch.Generator())
