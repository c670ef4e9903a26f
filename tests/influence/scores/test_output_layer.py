"""Leave-one-out of the output layer against dense linear algebra and against exact retraining."""

import pytest
import torch
from convex import trained
from oracle import make_problem, networks, relative_error
from torch import Tensor

from influence.curvature import EKFAC, fit_ekfac
from influence.layers import PerExampleGradients
from influence.layers.rule import to_matrix
from influence.problem import Problem, TensorData
from influence.retraining import retrain_without
from influence.scores.output_layer import LARGEST_LEVERAGE, OutputLayerLeaveOneOut, find_output_layer
from influence.vectors import block

SHIFT = 0.2
WITHOUT = {"learned scale"}  # its outputs are 1.5 times those of its last layer


def fitted(problem: Problem, data: TensorData) -> EKFAC:
    return fit_ekfac(PerExampleGradients(problem, data.inputs[:2]), data, 4)


def losses(ekfac: EKFAC, layer: str, data: TensorData, shift: float = SHIFT) -> Tensor:
    readings = ekfac.gradients.read(data.inputs, targets=data.targets)
    return OutputLayerLeaveOneOut(ekfac, layer, shift, len(data)).from_readings(readings, data.targets)


def dense_losses(ekfac: EKFAC, name: str, data: TensorData, shift: float) -> Tensor:
    """Every matrix of the layer written out: A = n (G + shift I) - shift I less the example's own curvature."""
    problem, n = ekfac.gradients.problem, len(data)
    layer = next(one for one in ekfac.gradients.layers if one.name == name)
    factors = ekfac.layers[name]
    count = factors.eigenvalues.numel()
    identity = torch.eye(count, dtype=torch.float64).view(count, *factors.eigenvalues.shape)
    curvature = factors.rotate_back(factors.eigenvalues * factors.rotate(identity)).flatten(1)
    matrix = n * (curvature + shift * torch.eye(count, dtype=torch.float64)) - shift * torch.eye(
        count, dtype=torch.float64
    )
    pull = block(problem.regularisation_gradient())
    regularisation = to_matrix(pull[layer.weight], pull[layer.bias] if layer.bias else None).flatten()
    activations = ekfac.gradients.read(data.inputs, targets=data.targets).layers[name].activations[:, 0]
    outputs = problem.outputs(problem.parameters, data.inputs)
    found = []
    for a, z, target in zip(activations, outputs, data.targets, strict=True):
        jacobian = torch.kron(torch.eye(len(z), dtype=torch.float64), a[None])
        p = z.softmax(dim=0)
        hessian = p.diag() - torch.outer(p, p)
        slope = p - torch.nn.functional.one_hot(target, len(z))
        step = torch.linalg.solve(matrix - jacobian.T @ hessian @ jacobian, jacobian.T @ slope + regularisation)
        found.append(problem.objective.loss((z + jacobian @ step)[None], target[None]))
    return torch.cat(found)


@pytest.mark.parametrize("name", sorted(networks()))
def test_it_is_the_newton_step_of_the_last_layer_read_at_the_example(name: str) -> None:
    problem, data = make_problem(name)
    ekfac = fitted(problem, data)
    layer = find_output_layer(ekfac.gradients, data.inputs[:3])
    assert (layer is None) == (name in WITHOUT)
    if layer is not None:
        assert relative_error(losses(ekfac, layer, data), dense_losses(ekfac, layer, data, SHIFT)) <= 1e-10


def test_of_a_linear_model_it_is_close_to_leaving_out_and_training_again() -> None:
    case = trained("softmax", 40)
    ekfac = fitted(case.problem, case.data)
    found = losses(ekfac, find_output_layer(ekfac.gradients, case.data.inputs[:2]) or "", case.data, shift=0.05)
    again = retrain_without(case.problem, case.data, [[index] for index in range(40)], case.solve).parameters
    kept = block(case.problem.parameters)
    before = case.problem.objective.loss(
        case.problem.outputs(case.problem.parameters, case.data.inputs), case.data.targets
    )
    actual = torch.cat(
        [
            case.problem.objective.loss(
                case.problem.outputs({name: again[name][row] for name in kept}, case.data.inputs[row : row + 1]),
                case.data.targets[row : row + 1],
            )
            for row in range(40)
        ]
    )
    assert torch.corrcoef(torch.stack([found - before, actual - before]))[0, 1] > 0.98
    assert (found - actual).abs().median() < 0.1 * (actual - before).abs().median()


def test_batches_and_little_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, data = make_problem("convolutions")
    ekfac = fitted(problem, data)
    whole = losses(ekfac, "5", data)
    monkeypatch.setattr("influence.scores.output_layer.VALUES", 1)
    assert torch.allclose(losses(ekfac, "5", data), whole, atol=1e-12)
    parts = [losses_of_part(ekfac, data, rows) for rows in (slice(0, 3), slice(3, None))]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-12)


def losses_of_part(ekfac: EKFAC, data: TensorData, rows: slice) -> Tensor:
    readings = ekfac.gradients.read(data.inputs[rows], targets=data.targets[rows])
    return OutputLayerLeaveOneOut(ekfac, "5", SHIFT, len(data)).from_readings(readings, data.targets[rows])


def test_a_leverage_that_no_exact_curvature_could_have_is_held_below_one() -> None:
    problem, data = make_problem("logistic")
    far = TensorData(torch.cat([data.inputs, 1e4 * data.inputs[:1]]), torch.cat([data.targets, data.targets[:1]]))
    ekfac = fitted(problem, data)  # has not seen the far example
    found = losses(ekfac, "1", far, shift=1e-6)
    assert found.isfinite().all() and 0 < LARGEST_LEVERAGE < 1
