"""curvlinops as an independent oracle of the operators, of any loss that both know."""

from typing import Any

import curvlinops
import pytest
import torch
from curvlinops import FisherType, KFACInverseLinearOperator
from layer_checks import randn, randomised
from oracle import flatten, relative_error, unflatten
from torch import Tensor, nn

from influence.curvature import FactoredGaussNewton, GaussNewton, Hessian, fit_ekfac, fit_kfac
from influence.layers import PerExampleGradients
from influence.objective import BinaryCrossEntropy, Objective, SoftmaxCrossEntropy, SquaredError
from influence.problem import Problem, TensorData
from influence.vectors import Vectors

EXAMPLES, DAMPING, EXACT = 9, 0.1, 1e-10
LOSSES = ["softmax", "binary", "squared error"]


def models(outputs: int) -> dict[str, tuple[nn.Module, Tensor]]:
    """And the inputs of the examples."""
    convolutions = [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 2, bias=False), nn.ReLU()]
    grouped = [nn.Conv2d(2, 4, 3, groups=2, dilation=2), nn.GroupNorm(2, 4), nn.Tanh()]
    return {
        "mlp": (
            nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, outputs)),
            randn(EXAMPLES, 5),
        ),
        "convolutions": (
            nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(12, outputs)),
            randn(EXAMPLES, 2, 6, 6),
        ),
        "norms": (
            nn.Sequential(*grouped, nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, outputs)),
            randn(EXAMPLES, 2, 6, 6),
        ),
    }


def losses(name: str) -> tuple[Objective, Tensor, nn.Module, Tensor, float]:
    """Our objective and targets; theirs; and what their operators are to be multiplied by."""
    labels, numbers = torch.arange(EXAMPLES) % 3, randn(EXAMPLES, 3, seed=4)
    match name:
        case "softmax":
            return SoftmaxCrossEntropy(), labels, nn.CrossEntropyLoss(), labels, 1.0
        case "binary":
            binary = labels % 2
            return BinaryCrossEntropy(), binary, nn.BCEWithLogitsLoss(), binary.double().unsqueeze(1), 1.0
        case _:  # a mean over outputs too, and no factor of one half
            return SquaredError(), numbers, nn.MSELoss(), numbers, 1.5


class Both:
    """One model as each side sees it."""

    def __init__(self, name: str, loss: str) -> None:
        objective, targets, self.loss, self.their_targets, self.scale = losses(loss)
        model, inputs = models(1 if loss == "binary" else 3)[name]
        self.problem, self.data = Problem(randomised(model), objective), TensorData(inputs, targets)
        self.gradients = PerExampleGradients(self.problem, inputs[:2])
        self.block = randn(3, self.problem.parameter_count, seed=7)
        self.vectors: Vectors = unflatten(self.block, self.problem.parameters)

    def operator(self, kind: str, **options: Any) -> Any:
        """Of theirs, over batches of four."""
        batches = list(zip(self.data.inputs.split(4), self.their_targets.split(4), strict=True))
        operator = getattr(curvlinops, f"{kind}LinearOperator")
        return operator(self.problem.model, self.loss, list(self.problem.model.parameters()), batches, **options)

    def factored(self, kind: str) -> Any:
        """K-FAC or EK-FAC with the exact expectation over labels, of weights and biases together."""
        return self.operator(kind, fisher_type=FisherType.TYPE2, separate_weight_and_bias=False)

    def product(self, operator: Any) -> Tensor:
        found: Tensor = (operator @ self.block.T).T
        return found


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", models(3))
def test_gauss_newton(name: str, loss: str) -> None:
    both = Both(name, loss)
    theirs = both.scale * both.product(both.operator("GGN"))
    for operator in (GaussNewton(both.problem, both.data), FactoredGaussNewton(both.gradients, both.data)):
        assert relative_error(flatten(operator @ both.vectors), theirs) <= EXACT


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["mlp", "convolutions"])  # theirs fails, or errs, in normalisations
def test_hessian(name: str, loss: str) -> None:
    both = Both(name, loss)
    ours = flatten(Hessian(both.problem, both.data) @ both.vectors)
    assert relative_error(ours, both.scale * both.product(both.operator("Hessian"))) <= EXACT


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["mlp", "convolutions"])  # theirs knows no other layers
def test_kfac_ekfac_and_their_inverses(name: str, loss: str) -> None:
    both = Both(name, loss)
    for kind, fit in (("EKFAC", fit_ekfac), ("KFAC", fit_kfac)):
        ours, theirs = fit(both.gradients, both.data), both.factored(kind)
        assert relative_error(flatten(ours @ both.vectors), both.scale * both.product(theirs)) <= EXACT
        inverse = KFACInverseLinearOperator(theirs, DAMPING / both.scale, use_exact_damping=True)
        found = flatten(ours.power(both.vectors, -1.0, DAMPING))
        assert relative_error(found, both.product(inverse) / both.scale) <= EXACT
