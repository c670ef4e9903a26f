import pytest
import torch
from oracle import networks
from torch import Tensor, nn

from influence.determinism import check_deterministic_model
from influence.layers import PerExampleGradients
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem


class AlwaysDropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layer(nn.functional.dropout(inputs, 0.5))  # in evaluation mode too
        return output


class Noisy(AlwaysDropping):
    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layer(inputs)
        return output + 0.01 * torch.randn_like(output)


@pytest.mark.parametrize("kind", [AlwaysDropping, Noisy])
def test_a_model_that_draws_in_evaluation_mode_is_refused_by_name(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    problem = Problem(kind(), SoftmaxCrossEntropy())
    message = rf"{kind.__name__} is stochastic in evaluation mode: .* differ by up to .*`self\.training`"
    for check in (check_deterministic_model, PerExampleGradients):
        with pytest.raises(ValueError, match=message):
            check(problem, torch.randn(2, 4))


@pytest.mark.parametrize("name", networks())
def test_the_others_are_not(name: str) -> None:
    model, shape = networks()[name]
    model = nn.Sequential(nn.Dropout(0.5), model)
    check_deterministic_model(Problem(model, SoftmaxCrossEntropy()), torch.randn(2, *shape, dtype=torch.float64))
