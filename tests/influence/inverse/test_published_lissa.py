import pytest
import torch
from torch import Tensor

from influence.curvature import Dense
from influence.inverse import published_lissa
from influence.layout import Layout

LIKE = {"weight": torch.zeros(2, 3, dtype=torch.float64)}


def dense(matrix: Tensor) -> Dense:
    return Dense(matrix, Layout.of(LIKE))


def test_without_sampling_it_is_the_neumann_series() -> None:
    torch.manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64)
    matrix = root @ root.T / 6 + torch.eye(6, dtype=torch.float64)
    scale, depth, right = 8.0, 5, torch.randn(2, 6, dtype=torch.float64)
    found = published_lissa(dense(matrix), {"weight": right.view(2, 2, 3)}, lambda step: dense(matrix), scale, depth)
    shrink = torch.eye(6, dtype=torch.float64) - matrix / scale
    series = sum((torch.linalg.matrix_power(shrink, power) for power in range(depth + 1)), torch.zeros_like(matrix))
    expected = right @ series / scale
    torch.testing.assert_close(found.vectors["weight"].flatten(1), expected, rtol=1e-12, atol=1e-14)
    residual = (right - expected @ matrix).norm(dim=1) / right.norm(dim=1)
    torch.testing.assert_close(found.certificate.relative_residual, residual, rtol=1e-10, atol=1e-14)
    assert found.certificate.iterations.tolist() == [depth, depth]


def test_every_step_draws_anew_and_repeats_are_averaged() -> None:
    torch.manual_seed(0)
    parts = torch.rand(40, 6, dtype=torch.float64) + 0.5
    matrix, right = parts.mean(dim=0).diag(), {"weight": torch.ones(1, 2, 3, dtype=torch.float64)}
    drawn: list[int] = []

    def sample(step: int) -> Dense:
        drawn.append(step)
        return dense(parts[step % len(parts)].diag())

    residuals = []
    for repeats in (1, 20):
        drawn.clear()
        found = published_lissa(dense(matrix), right, sample, scale=3.0, depth=39, repeats=repeats)
        assert drawn == list(range(39 * repeats))
        residuals.append(float(found.certificate.relative_residual))
    assert residuals[1] < 0.5 * residuals[0]


def test_divergence_is_an_error() -> None:
    matrix = dense(100.0 * torch.eye(6, dtype=torch.float64))
    right = {"weight": torch.ones(1, 2, 3, dtype=torch.float64)}
    with pytest.raises(FloatingPointError):
        published_lissa(matrix, right, lambda step: matrix, scale=1.0, depth=500)
