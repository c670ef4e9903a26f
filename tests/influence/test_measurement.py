import pytest
import torch
from layer_checks import randomised
from objective_cases import cases
from oracle import flatten, make_problem, relative_error
from torch import Tensor, nn

from influence import Logit
from influence.layers import PerExampleGradients, as_vectors
from influence.measurement import Measure, Measurement, resolve_measurement
from influence.objective import BinaryCrossEntropy, Hinge, SoftmaxCrossEntropy, SquaredError
from influence.problem import Problem, TensorData


def entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return -(outputs.softmax(dim=-1) * outputs.log_softmax(dim=-1)).sum(dim=-1)


def lead(outputs: Tensor, targets: Tensor) -> Tensor:
    rows = torch.arange(len(outputs))
    others = outputs.clone()
    others[rows, targets] = -torch.inf
    return outputs[rows, targets] - others.amax(dim=1)


def log_odds(outputs: Tensor, targets: Tensor) -> Tensor:
    p = outputs.softmax(dim=1)[torch.arange(len(outputs)), targets]
    return torch.logit(p)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


# What is asked for, and the same written in another way.
MEASUREMENTS: list[tuple[Measurement, Measure]] = [
    ("loss", cross_entropy),
    ("margin", lead),
    ("log-odds", log_odds),
    (Logit(2), lambda outputs, targets: outputs[:, 2]),
    (entropy, entropy),
    (Hinge().loss, Hinge().loss),
]


def one_by_one(problem: Problem, data: TensorData, measure: Measure) -> Tensor:
    """Gradient of what is measured of every example, through autograd, [N, P]."""
    rows = []
    for inputs, targets in data.batches(1):
        leaves = {name: value.clone().requires_grad_(True) for name, value in problem.parameters.items()}
        measured = measure(problem.outputs(leaves, inputs), targets).sum()
        grads = torch.autograd.grad(measured, list(leaves.values()), materialize_grads=True, allow_unused=True)
        rows.append(torch.cat([gradient.flatten() for gradient in grads]))
    return torch.stack(rows)


@pytest.mark.parametrize("name", ["logistic", "convolutions", "sequence", "shared module", "attention"])
@pytest.mark.parametrize(("measurement", "truth"), MEASUREMENTS[:5], ids=["loss", "margin", "log-odds", "logit", "own"])
def test_gradients_are_those_of_autograd(name: str, measurement: Measurement, truth: Measure) -> None:
    problem, data = make_problem(name)
    gradients = PerExampleGradients(problem, data.inputs[:2])
    found = gradients.read(data.inputs, targets=data.targets, measurement=measurement)
    assert relative_error(flatten(as_vectors(gradients, found)), one_by_one(problem, data, truth)) <= 1e-12


@pytest.mark.parametrize("name", cases())
def test_gradients_under_every_objective(name: str) -> None:
    case = cases()[name]
    problem = Problem(randomised(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, case.classes))), case.objective)
    data = TensorData(torch.randn(len(case.targets), 5, dtype=torch.float64), case.targets)
    gradients = PerExampleGradients(problem, data.inputs[:2])
    for measurement in ("loss", Logit(0)):
        found = gradients.read(data.inputs, targets=data.targets, measurement=measurement)
        measure = resolve_measurement(measurement, case.objective)
        assert relative_error(flatten(as_vectors(gradients, found)), one_by_one(problem, data, measure)) <= 1e-12


def test_the_smoothed_model_may_be_asked_for_its_hinge_loss() -> None:
    """As Koh & Liang 2017 do, section 4.2."""
    case = cases()["smooth hinge"]
    problem = Problem(nn.Linear(5, 1).double(), case.objective)
    inputs = torch.randn(len(case.targets), 5, dtype=torch.float64)
    gradients = PerExampleGradients(problem, inputs[:2])
    found = gradients.read(inputs, targets=case.targets, measurement=Hinge().loss)
    margins = case.targets * found.outputs[:, 0]
    expected = torch.where(margins < 1, -case.targets, 0.0).unsqueeze(1) * inputs
    assert torch.allclose(as_vectors(gradients, found)["weight"][:, 0], expected)


def test_binary_margin_log_odds_and_signed_logit_are_one() -> None:
    objective, outputs, targets = BinaryCrossEntropy(), torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 1])
    for measurement in ("margin", "log-odds", Logit(0)):
        assert resolve_measurement(measurement, objective)(outputs, targets).tolist() == [2.0, -1.0]


def test_messages() -> None:
    softmax, outputs = SoftmaxCrossEntropy(), torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"one of loss, margin, log-odds, Logit\(class\) or a function, not 'logodds'"):
        resolve_measurement("logodds", softmax)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="or a function, not int 3"):
        resolve_measurement(3, softmax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="named by its class, from 0 on, not -1"):
        Logit(-1)
    with pytest.raises(ValueError, match="there is no logit 3: the model has 3 outputs"):
        Logit(3)(outputs, torch.zeros(2))
    with pytest.raises(TypeError, match="SquaredError has no margin"):
        resolve_measurement("margin", SquaredError())(outputs, outputs)


def test_a_function_of_the_wrong_kind_is_refused_where_it_is_read() -> None:
    problem, data = make_problem("logistic")
    gradients = PerExampleGradients(problem, data.inputs[:2])

    def read(measurement: Measure) -> None:
        gradients.read(data.inputs, targets=data.targets, measurement=measurement)

    with pytest.raises(ValueError, match=r"must be of shape \[7\], one number an example, not \[7, 3\]"):
        read(lambda outputs, targets: outputs)
    with pytest.raises(ValueError, match="does not depend on the outputs"):
        read(lambda outputs, targets: targets.double())
    with pytest.raises(TypeError, match="read takes cotangents, or targets"):
        gradients.read(data.inputs)
