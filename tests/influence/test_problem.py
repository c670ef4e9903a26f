"""A problem: which parameters count, and what it does to the model."""

import pytest
import torch
from torch import nn

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
