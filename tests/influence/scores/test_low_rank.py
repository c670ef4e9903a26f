import pytest
import torch
from layer_checks import randn

from influence.scores.low_rank import weighted_low_rank


def test_the_approximation_is_the_best_in_its_weights() -> None:
    """No other matrix of that rank is nearer: the part left out is orthogonal to both sides of what is kept."""
    squares = randn(6, 9).square()
    matrix = 1.0 / (squares + 0.1)
    u, v = weighted_low_rank(matrix, squares, 2)
    weights = squares.mean(dim=1).unsqueeze(1) * squares.mean(dim=0)
    left_out = weights * (matrix - u.T @ v)
    scale = float((weights * matrix).norm())
    p, q = squares.mean(dim=1), squares.mean(dim=0)
    assert float(((p * u) @ left_out).norm()) <= 1e-10 * scale * float(u.norm())
    assert float((left_out @ (q * v).T).norm()) <= 1e-10 * scale * float(v.norm())
    values = torch.linalg.svdvals(weights * matrix)
    assert float(left_out.norm()) == pytest.approx(float(values[2:].norm()))


def test_coordinates_that_no_gradient_has_are_not_blown_up() -> None:
    squares = randn(6, 9).square()
    squares[2], squares[:, 4] = 0.0, 0.0
    matrix = 1.0 / (squares + 0.1)
    for rank in (2, 6):
        u, v = weighted_low_rank(matrix, squares, rank)
        assert float((u.T @ v).abs().max()) <= 100.0
    u, v = weighted_low_rank(torch.full((3, 4), 10.0).double(), torch.zeros(3, 4).double(), 1)
    assert torch.allclose(u.T @ v, torch.full((3, 4), 10.0).double())
