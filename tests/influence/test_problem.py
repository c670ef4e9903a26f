"""A problem: which parameters count, and what it does to the model."""

from collections.abc import Callable

import pytest
import torch
from oracle import networks
from torch import Tensor, nn

from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no parameter '2\.wieght'; it has 0\.weight, 0\.bias, 2\.weight, 2\.bias"):
        Problem(model(), SoftmaxCrossEntropy(), ["2.weight", "2.wieght"])


def test_a_model_without_parameters_to_differentiate_is_refused() -> None:
    for empty in (nn.Flatten(), model().requires_grad_(False)):
        with pytest.raises(ValueError, match="no parameter that requires a gradient"):
            Problem(empty, SoftmaxCrossEntropy())


def test_frozen_parameters_are_not_theta_but_still_used() -> None:
    network = model()
    network[0].requires_grad_(False)
    problem = Problem(network, SoftmaxCrossEntropy())
    assert list(problem.parameters) == ["2.weight", "2.bias"]
    assert problem.parameter_count == 10
    inputs = torch.randn(5, 3)
    assert torch.equal(problem.outputs(problem.parameters, inputs), network(inputs))
    chosen = Problem(model(), SoftmaxCrossEntropy(), ["2.bias", "0.weight"])
    assert list(chosen.parameters) == ["0.weight", "2.bias"]  # in the model's own order


def test_outputs_are_a_pure_deterministic_function_of_the_parameters_given() -> None:
    problem = Problem(model().train(), SoftmaxCrossEntropy(weight_decay=0.5))
    inputs, targets = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    assert not problem.model.training  # dropout would draw
    first = problem.loss(problem.parameters, inputs, targets)
    moved = {name: value + 1 for name, value in problem.parameters.items()}
    assert not torch.allclose(problem.loss(moved, inputs, targets), first)
    assert torch.equal(problem.loss(problem.parameters, inputs, targets), first)
    outputs = problem.outputs(problem.parameters, inputs)
    assert torch.allclose(first, nn.functional.cross_entropy(outputs, targets, reduction="none"))
    assert torch.equal(problem.regularisation_gradient()["0.weight"], 0.5 * problem.parameters["0.weight"])
    assert problem.dtype == torch.float32 and problem.device.type == "cpu"


@pytest.mark.parametrize("size", [1, 3, 7, 10])
def test_data_can_be_read_again_in_batches_of_any_size(size: int) -> None:
    data = TensorData(torch.arange(14.0).reshape(7, 2), torch.arange(7))
    for _ in range(2):
        batches = list(data.batches(size))
        assert max(len(inputs) for inputs, _ in batches) <= size
        assert torch.equal(torch.cat([inputs for inputs, _ in batches]), data.inputs)
        assert torch.equal(torch.cat([targets for _, targets in batches]), data.targets)


@pytest.mark.parametrize("name", networks())
def test_the_model_keeps_its_parameters_wherever_they_are_shared(name: str) -> None:
    """A module registered under two names is the hard case."""
    network, shape = networks()[name]
    problem, inputs = Problem(network, SoftmaxCrossEntropy()), torch.randn(2, *shape, dtype=torch.float64)
    before = dict(network.named_parameters(remove_duplicate=False))
    expected = network(inputs)
    moved = {name: value + 1 for name, value in problem.parameters.items()}
    found = problem.outputs(moved, inputs)
    after = dict(network.named_parameters(remove_duplicate=False))
    assert after.keys() == before.keys() and all(after[name] is before[name] for name in before)
    assert torch.equal(network(inputs), expected)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert torch.allclose(found, network(inputs), rtol=1e-12)


@pytest.mark.parametrize("examples", [1, 4])
def test_one_number_an_example_is_one_column(examples: int) -> None:
    inputs = torch.randn(examples, 3)
    layer = nn.Linear(3, 1)
    flat = nn.Sequential(layer, nn.Flatten(0))
    for network in (layer, flat, Squeezed(layer)):
        problem = Problem(network, SoftmaxCrossEntropy())
        assert torch.equal(problem.outputs(problem.parameters, inputs), layer(inputs))


class Squeezed(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layer(inputs).squeeze()  # of one example: no dimension at all
        return output


class Returns(Squeezed):
    """Something other than one row an example."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__(nn.Linear(3, 2))
        self.make = make

    def forward(self, inputs: Tensor) -> Tensor:
        return self.make(self.layer(inputs))  # type: ignore[return-value]


def test_outputs_that_are_not_one_row_an_example_are_refused() -> None:
    shapes: list[tuple[Callable[[Tensor], object], str]] = [
        (lambda outputs: outputs.unsqueeze(1), r"\[5, 1, 2\]"),
        (lambda outputs: outputs.T, r"\[2, 5\]"),
        (lambda outputs: outputs.mean(), r"\[\]"),
    ]
    for make, shape in shapes:
        problem = Problem(Returns(make), SoftmaxCrossEntropy())
        with pytest.raises(ValueError, match=rf"outputs for 5 inputs are of shape {shape}, not \[5, C\]: wrap it"):
            problem.outputs(problem.parameters, torch.randn(5, 3))
    problem = Problem(Returns(lambda outputs: (outputs, outputs)), SoftmaxCrossEntropy())
    with pytest.raises(TypeError, match=r"the model returns tuple, not a tensor of outputs \[B, C\]: wrap it"):
        problem.outputs(problem.parameters, torch.randn(5, 3))
