"""Batches planned from measured sizes."""

import torch
from torch import nn

from influence.memory import activations_per_example, gradient_batch
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem


def problem(width: int = 5) -> Problem:
    return Problem(nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2)), SoftmaxCrossEntropy())


def test_activations_are_those_of_one_example_whatever_the_probe() -> None:
    for examples in (1, 4):
        assert activations_per_example(problem(), torch.randn(examples, 3)) == 3 + 5 + 5 + 2
    assert not any(module._forward_hooks for module in problem().model.modules())


def test_the_hooks_are_gone_even_when_the_model_fails() -> None:
    made = problem()
    try:
        activations_per_example(made, torch.randn(1, 4))
    except RuntimeError:
        assert not any(module._forward_hooks for module in made.model.modules())
    else:
        raise AssertionError("a model of 3 inputs took 4")


def test_the_batch_grows_with_the_limit_and_its_gradients_fit_it() -> None:
    made, probe = problem(), torch.randn(2, 3)
    bytes_of_gradient = 4 * made.parameter_count
    sizes = [gradient_batch(made, probe, limit) for limit in (1, 1000, 20_000, 200_000, 2**31)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1 and sizes[-1] == 512
    assert 1 < sizes[2] < sizes[3] < 512
    assert all(2 * size * bytes_of_gradient <= limit for size, limit in zip(sizes[2:4], (20_000, 200_000), strict=True))
    assert gradient_batch(made, probe, 200_000, per_parameter=8) < sizes[3]
    double = Problem(made.model.double(), SoftmaxCrossEntropy())
    assert gradient_batch(double, probe.double(), 200_000) == sizes[3] // 2
