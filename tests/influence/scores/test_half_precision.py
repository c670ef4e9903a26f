"""Scores in half precision against the same scores in float32."""

import pytest
import torch
from oracle import relative_error
from torch import Tensor, nn

from influence.curvature import EKFAC, fit_ekfac
from influence.layers import PerExampleGradients, as_vectors
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.scores import FactoredPairwise, Pairwise

EXAMPLES = 60
HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


def convolutions() -> tuple[EKFAC, TensorData, TensorData]:
    """A fitted network with a layer used once and one used several times, and parameters outside of both."""
    torch.manual_seed(0)
    features = (nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(*features, nn.Linear(48, 16), nn.Tanh(), nn.Linear(16, 3))
    inputs, targets = torch.randn(EXAMPLES, 2, 5, 6), torch.arange(EXAMPLES) % 3
    problem, data = Problem(model, SoftmaxCrossEntropy(weight_decay=0.01)), TensorData(inputs, targets)
    queries = TensorData(torch.randn(10, 2, 5, 6), torch.arange(10) % 3)
    return fit_ekfac(PerExampleGradients(problem, inputs[:2]), data), data, queries


def scores(
    ekfac: EKFAC,
    data: TensorData,
    queries: TensorData,
    rank: int | None,
    dtype: torch.dtype | None,
    shift: float = 0.01,
) -> Tensor:
    readings = ekfac.gradients.read(queries.inputs, targets=queries.targets)
    if rank is not None:
        scorer: Pairwise | FactoredPairwise = FactoredPairwise(ekfac, shift, [readings], EXAMPLES, rank, dtype)
    else:
        solutions = ekfac.power(as_vectors(ekfac.gradients, readings), -1.0, shift)
        scorer = Pairwise(ekfac.gradients, solutions, EXAMPLES, dtype)
    return scorer.batch(data.inputs, data.targets)


@HALVES
@pytest.mark.parametrize("rank", [None, 3])
def test_it_correlates_with_float32(rank: int | None, dtype: torch.dtype) -> None:
    ekfac, data, queries = convolutions()
    full, half = (scores(ekfac, data, queries, rank, precision) for precision in (None, dtype))
    assert full.dtype == half.dtype == torch.float32
    assert 0 < relative_error(half, full) < 0.02
    for pair in zip(half, full, strict=True):
        assert float(torch.corrcoef(torch.stack(pair))[0, 1]) >= 0.999


@HALVES
@pytest.mark.parametrize("rank", [None, 3])
def test_neither_large_nor_small_numbers_leave_its_range(rank: int | None, dtype: torch.dtype) -> None:
    """Solutions beyond the largest number of float16, and gradients whose squares vanish in float32."""
    ekfac, data, queries = convolutions()
    large = scores(ekfac, data, queries, rank, dtype, shift=1e-7)
    assert relative_error(large, scores(ekfac, data, queries, rank, None, shift=1e-7)) < 0.1

    small = SoftmaxCrossEntropy()
    small.loss = lambda outputs, targets: 1e-19 * SoftmaxCrossEntropy().loss(outputs, targets)  # type: ignore[method-assign]
    problem = Problem(ekfac.gradients.problem.model, small)
    faint = EKFAC(PerExampleGradients(problem, data.inputs[:2]), ekfac.layers, ekfac.rest)
    pair = [scores(faint, data, queries, rank, precision, shift=1e-6).double() for precision in (dtype, None)]
    assert float(pair[1].norm()) > 0
    assert relative_error(*pair) < 0.1


@HALVES
def test_an_example_without_gradient_scores_zero(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    problem = Problem(nn.Linear(4, 3), SoftmaxCrossEntropy())
    inputs = torch.randn(5, 4)
    gradients = PerExampleGradients(problem, inputs[:2])
    solutions = {"weight": torch.randn(2, 3, 4), "bias": torch.randn(2, 3)}
    solutions["weight"][1], solutions["bias"][1] = 0.0, 0.0
    cotangents = torch.randn(1, 5, 3)
    cotangents[0, 2] = 0.0
    found = Pairwise(gradients, solutions, 5, dtype).from_readings(gradients.read(inputs, cotangents))
    assert bool(found.isfinite().all())
    assert bool((found[:, 2] == 0).all()) and bool((found[1] == 0).all()) and bool((found[0, [0, 1, 3, 4]] != 0).all())
