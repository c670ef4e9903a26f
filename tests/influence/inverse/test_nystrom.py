import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import Counted, block, layout, operator, positive_definite, symmetric

from influence.inverse import (
    NotPositiveDefiniteError,
    conjugate_gradient,
    nystrom,
    nystrom_approximation,
    nystrom_preconditioner,
)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), condition=st.floats(1, 1e6), rank=st.integers(1, 12), damping=st.floats(0.01, 10))
def test_it_is_the_formula_of_the_paper_solved_exactly(seed: int, condition: float, rank: int, damping: float) -> None:
    matrix, right, names = positive_definite(12, condition, seed), block(3, 12, seed), layout(12)
    drawn = torch.randn(12, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    images = matrix @ drawn
    dense = images @ torch.linalg.solve(drawn.T @ images, images.T) + damping * torch.eye(12, dtype=torch.float64)
    counted = Counted(operator(matrix))
    solution = nystrom(counted, names.unflatten(right), damping, rank, seed=seed)
    found = names.flatten(solution.vectors)
    torch.testing.assert_close(found, torch.linalg.solve(dense, right.T).T, rtol=1e-4, atol=1e-4 / damping)
    shifted = matrix + damping * torch.eye(12, dtype=torch.float64)
    true = (right - found @ shifted).norm(dim=1) / right.norm(dim=1)
    torch.testing.assert_close(
        solution.certificate.relative_residual, true, rtol=1e-6, atol=1e-12 + 1e-15 * condition / min(damping, 1.0)
    )
    assert solution.certificate.converged.tolist() == (true <= 1.1e-6).tolist()
    assert solution.certificate.operator_products == counted.products == rank + 3


def test_as_a_preconditioner_it_saves_conjugate_gradients_most_of_their_steps() -> None:
    values = torch.cat([torch.logspace(0, 5, 20, dtype=torch.float64), torch.full((80,), 0.01, dtype=torch.float64)])
    matrix, names = symmetric(values, 4), layout(100)
    right, shifted = names.unflatten(block(4, 100, 5)), operator(symmetric(values, 4)) + 0.1
    approximation = nystrom_approximation(operator(matrix), {key: value[0] for key, value in right.items()}, 30)
    plain = conjugate_gradient(shifted, right, 1e-8)
    helped = conjugate_gradient(shifted, right, 1e-8, preconditioner=nystrom_preconditioner(approximation, 0.1))
    assert bool(plain.certificate.converged.all()) and bool(helped.certificate.converged.all())
    assert 3 * int(helped.certificate.iterations.max()) <= int(plain.certificate.iterations.max())
    torch.testing.assert_close(names.flatten(helped.vectors), names.flatten(plain.vectors), rtol=1e-4, atol=1e-6)


def test_what_it_cannot_do_is_named() -> None:
    names = layout(6)
    right = names.unflatten(block(1, 6, 0))
    like = {key: value[0] for key, value in right.items()}
    indefinite = operator(symmetric([5.0, -4.0, 3.0, 2.0, 1.0, 0.5]))
    with pytest.raises(NotPositiveDefiniteError, match="use the Gauss-Newton matrix"):
        nystrom(indefinite, right, damping=0.1, rank=6)
    with pytest.raises(ZeroDivisionError, match="positive damping"):
        nystrom(operator(positive_definite(6, 10, 0)), right, damping=0.0)
    with pytest.raises(ValueError, match="at least 1"):
        nystrom_approximation(indefinite, like, 0)
    singular = nystrom_approximation(operator(symmetric([5.0, 4.0, 0.0, 0.0, 0.0, 0.0])), like, 6)
    with pytest.raises(ZeroDivisionError, match="rank below"):
        nystrom_preconditioner(singular, 0.0)
