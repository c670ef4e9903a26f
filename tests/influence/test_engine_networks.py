"""Whole networks through the engine: residual, transformer, ResNet-9; whatever the memory allows."""

import pytest
import torch
from layer_checks import randn, randomised, tokens
from oracle import decay_diagonal, flatten, gauss_newton, loss_gradients, relative_error, unflatten
from torch import Tensor, nn
from whole_networks import SmallTransformer, residual_network, resnet9

from influence import Influence, SoftmaxCrossEntropy
from influence.inverse_curvature import Curvature
from influence.problem import Problem, TensorData

DECAY, DAMPING, EXAMPLES = 0.03, 0.3, 4


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    return {
        "residual": (randomised(residual_network()), randn(EXAMPLES, 2, 4, 4)),
        "transformer": (randomised(SmallTransformer()), tokens(EXAMPLES, 5, entries=7)),
        "resnet9": (randomised(resnet9()), randn(EXAMPLES, 2, 8, 8)),
    }


def engine_of(name: str, curvature: Curvature, memory_limit: int | str = "1GiB") -> tuple[Influence, TensorData]:
    model, inputs = networks()[name]
    data = TensorData(inputs, torch.arange(EXAMPLES) % 3)
    objective = SoftmaxCrossEntropy(DECAY)
    engine = Influence(model, objective, data, curvature, "direct", DAMPING, memory_limit=memory_limit, tolerance=1e-10)
    return engine, data


@pytest.mark.parametrize("curvature", ["gauss-newton", "ekfac"])
@pytest.mark.parametrize("name", networks())
def test_every_question_of_a_network_has_the_dense_answer(name: str, curvature: Curvature) -> None:
    engine, data = engine_of(name, curvature)
    problem = Problem(engine.problem.model, engine.problem.objective)
    count, decay = problem.parameter_count, decay_diagonal(problem)
    if curvature == "ekfac":
        approximation = engine._inverse.approximation
        assert approximation is not None
        identity = unflatten(torch.eye(count, dtype=torch.float64), problem.parameters)
        matrix = flatten(approximation @ identity) + (DECAY + DAMPING) * torch.eye(count, dtype=torch.float64)
    else:
        matrix = gauss_newton(problem, data) + (decay + DAMPING).diag()
    gradients = loss_gradients(problem, data)
    shares = gradients + decay * torch.cat([value.flatten() for value in problem.parameters.values()])
    truth = gradients @ torch.linalg.solve(matrix, shares.T) / len(data)
    assert relative_error(engine.pairwise(data), truth) <= 1e-8
    assert relative_error(engine.self_influence(), truth.diagonal()) <= 1e-8
    groups = engine.group([[0, 3], [2]], data)
    assert relative_error(groups.first_order, torch.stack([truth[:, [0, 3]].sum(1), truth[:, 2]], 1)) <= 1e-8
    assert (groups.newton is None) == (curvature == "ekfac")
    assert engine.certificate.largest_residual <= 1e-8
    if data.inputs.is_floating_point():
        moved = engine.perturbation(data, [3, 1])
        assert moved.shape == (EXAMPLES, 2, *data.inputs.shape[1:]) and bool(moved.isfinite().all())
    else:
        with pytest.raises(TypeError, match="cannot be moved by a little"):
            engine.perturbation(data, [3, 1])


@pytest.mark.parametrize("name", ["residual", "transformer"])
def test_half_the_memory_gives_the_same_answer(name: str) -> None:
    answers = []
    for memory_limit in (2**30, 200_000, 100_000):
        engine, data = engine_of(name, "ekfac", memory_limit)
        answers.append((engine.pairwise(data), engine.self_influence(), engine.group([[0, 1]], data).first_order))
    for other in answers[1:]:
        assert all(relative_error(same, one) <= 1e-10 for one, same in zip(answers[0], other, strict=True))
