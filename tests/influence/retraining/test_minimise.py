import pytest
import torch
from convex import KINDS, trained
from oracle import flatten, relative_error
from torch import nn

from influence.objective import BinaryCrossEntropy
from influence.problem import TensorData
from influence.retraining import NotConvergedError, full_gradient, minimise
from influence.vectors import block, norm


@pytest.mark.parametrize("near_steps", [1, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_the_minimum_that_dense_newton_finds(kind: str, near_steps: int) -> None:
    case = trained(kind, 40)
    weight = case.problem.parameters["weight"]
    torch.manual_seed(0)
    model = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in case.problem.parameters, dtype=torch.float64)
    found = minimise(model, case.problem.objective, case.data, near_steps=near_steps)
    assert float(norm(full_gradient(found, case.data))) <= 1e-10
    assert relative_error(flatten(block(found.parameters)), flatten(block(case.problem.parameters))) <= 1e-8
    assert found.parameters["weight"].equal(model.weight) and model.weight.requires_grad


def test_features_of_very_different_scale_are_no_obstacle() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 6, generator=generator, dtype=torch.float64) * 10.0 ** torch.arange(-2, 4)
    data = TensorData(inputs, (inputs.sum(dim=1) + inputs[:, 4] > 0).long())
    objective = BinaryCrossEntropy(1e-4)
    model = nn.Linear(6, 1, bias=False, dtype=torch.float64)
    found = minimise(model, objective, data)
    assert float(norm(full_gradient(found, data))) <= 1e-10


def test_what_cannot_be_minimised_is_an_error() -> None:
    case = trained("logistic", 40)
    with pytest.raises(ValueError, match="needs a model in float64"):
        minimise(nn.Linear(4, 1), case.problem.objective, case.data)
    with pytest.raises(NotConvergedError, match="training stopped at a gradient of norm"):
        minimise(nn.Linear(4, 1).double(), case.problem.objective, case.data, near_steps=1, max_factors=1)
