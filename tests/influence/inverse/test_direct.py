import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import Counted, block, layout, operator, positive_definite, symmetric

from influence.inverse import NotPositiveDefiniteError, direct


@settings(max_examples=40)
@given(seed=st.integers(0, 9999), condition=st.floats(1.0, 1e6), columns=st.integers(1, 4), size=st.integers(3, 12))
def test_it_equals_a_dense_solve_and_its_certificate_is_true(
    seed: int, condition: float, columns: int, size: int
) -> None:
    matrix, right, names = positive_definite(size, condition, seed), block(columns, size, seed), layout(size)
    counted = Counted(operator(matrix))
    solution = direct(counted, names.unflatten(right), damping=0.5, tolerance=1e-8)
    shifted = matrix + 0.5 * torch.eye(size, dtype=torch.float64)
    found = names.flatten(solution.vectors)
    torch.testing.assert_close(found, torch.linalg.solve(shifted, right.T).T, rtol=1e-8, atol=1e-10)
    residual = (right - found @ shifted).norm(dim=1) / right.norm(dim=1)
    torch.testing.assert_close(solution.certificate.relative_residual, residual, rtol=0, atol=1e-15 * condition)
    assert bool(solution.certificate.converged.all())
    assert solution.certificate.operator_products == counted.products


def test_refinement_brings_float32_to_its_own_precision() -> None:
    matrix, right, names = positive_definite(10, 1e4, 1).float(), block(3, 10, 2).float(), layout(10)
    solution = direct(operator(matrix), names.unflatten(right), tolerance=1e-5)
    assert solution.vectors["weight"].dtype == torch.float32
    assert float(solution.certificate.relative_residual.max()) <= 1e-3


@pytest.mark.parametrize("smallest", [-2.0, -1e-3, 0.0])
def test_what_is_not_positive_definite_is_refused_with_the_damping_that_would_do(smallest: float) -> None:
    matrix, names = symmetric([smallest, 1.0, 2.0, 3.0, 4.0]), layout(5)
    right = names.unflatten(block(2, 5, 0))
    with pytest.raises(NotPositiveDefiniteError, match="smallest eigenvalue") as caught:
        direct(operator(matrix), right)
    named = re.search(r"damping of (\S+) or more", str(caught.value))
    assert named is not None and float(named[1]) < 1.02 * abs(smallest) + 0.01
    assert bool(direct(operator(matrix), right, damping=float(named[1])).certificate.converged.all())
