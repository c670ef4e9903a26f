"""Krylov spaces and the two solvers built on them, against dense decompositions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import Counted, block, layout, operator, positive_definite, symmetric
from torch import Tensor

from influence.inverse import (
    KrylovSpace,
    NotPositiveDefiniteError,
    arnoldi,
    eigen,
    extreme_eigenvalues,
    leading_eigenpairs,
)
from influence.vectors import Vectors


def like(size: int) -> Vectors:
    return {name: torch.zeros(shape, dtype=torch.float64) for name, shape in layout(size).shapes.items()}


@settings(max_examples=40)
@given(
    values=st.lists(st.integers(-3, 3).map(float), min_size=3, max_size=12),
    grown=st.integers(1, 12),
    width=st.integers(1, 4),
    seed=st.integers(0, 999),
)
def test_ritz_pairs_are_orthonormal_and_their_residuals_true(
    values: list[float], grown: int, width: int, seed: int
) -> None:
    """Spectra full of equal and zero eigenvalues, in which plain Lanczos breaks down."""
    matrix = symmetric(values, seed)
    space = KrylovSpace(operator(matrix), like(len(values)), width, seed)
    space.grow(grown)
    pairs = space.ritz()
    assert min(grown, len(values)) <= len(space) <= len(values) and space.products == len(space)
    gram = pairs.vectors @ pairs.vectors.T
    torch.testing.assert_close(gram, torch.eye(len(space), dtype=torch.float64), rtol=0, atol=1e-10)
    true = (pairs.vectors @ matrix - pairs.values[:, None] * pairs.vectors).norm(dim=1)
    torch.testing.assert_close(pairs.residuals, true, rtol=1e-8, atol=1e-9)
    space.grow(len(values))
    torch.testing.assert_close(space.ritz().values, torch.linalg.eigvalsh(matrix), rtol=0, atol=1e-9)


def test_the_ends_of_the_spectrum() -> None:
    counted = Counted(operator(symmetric(torch.linspace(-1, 5, 60), 1)))
    ends = extreme_eigenvalues(counted, like(60), 25)
    assert ends.largest == pytest.approx(5, abs=0.05) and ends.smallest == pytest.approx(-1, abs=0.05)
    assert ends.products == counted.products == 25
    for value, error in ((ends.smallest, ends.smallest_error), (ends.largest, ends.largest_error)):
        assert float((torch.linspace(-1, 5, 60) - value).abs().min()) <= error + 1e-6


def test_leading_eigenpairs_meet_their_accuracy_with_equal_eigenvalues() -> None:
    values = [9.0, 9.0, 9.0, -7.0, 5.0, *torch.linspace(0, 1, 45).tolist()]
    pairs, _ = leading_eigenpairs(operator(symmetric(values, 2)), like(50), rank=5, accuracy=1e-8)
    torch.testing.assert_close(pairs.values, torch.tensor(values[:5]).double(), rtol=1e-8, atol=1e-8)
    assert float(pairs.residuals.max()) <= 9e-8
    with pytest.raises(ValueError, match="at least 1"):
        leading_eigenpairs(operator(symmetric(values, 2)), like(50), rank=0)


def cut(matrix: Tensor, rank: int, damping: float, rest: float) -> Tensor:
    """(matrix + damping)^-1 on the `rank` leading eigenvectors, `rest` on the others."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = torch.zeros(len(values), dtype=torch.bool)
    kept[values.abs().argsort(descending=True)[:rank]] = True
    return vectors @ torch.where(kept, 1 / (values + damping), rest).diag() @ vectors.T


@settings(max_examples=30)
@given(seed=st.integers(0, 999), condition=st.floats(1.5, 1e6), rank=st.integers(1, 12), damping=st.floats(0.01, 10))
def test_solvers_invert_on_the_leading_eigenvectors_and_say_what_is_left(
    seed: int, condition: float, rank: int, damping: float
) -> None:
    matrix, right, names = positive_definite(12, condition, seed), block(3, 12, seed), layout(12)
    shifted = matrix + damping * torch.eye(12, dtype=torch.float64)
    cases = (
        (arnoldi(operator(matrix), names.unflatten(right), damping, rank, steps=12), 0.0),
        (eigen(operator(matrix), names.unflatten(right), damping, rank), 1 / damping),
    )
    for solution, rest in cases:
        found = names.flatten(solution.vectors)
        if rank == 12 or condition > 10:  # else neighbours are too close to be told apart at the default accuracy
            torch.testing.assert_close(found, right @ cut(matrix, rank, damping, rest), rtol=1e-3, atol=1e-3 / damping)
        true = (right - found @ shifted).norm(dim=1) / right.norm(dim=1)
        torch.testing.assert_close(
            solution.certificate.relative_residual, true, rtol=1e-6, atol=1e-12 + 1e-15 * condition / min(damping, 1.0)
        )
        assert solution.certificate.converged.tolist() == (true <= 1.1e-6).tolist()
        assert not bool(solution.certificate.negative_curvature.any())
        if rank == 12:
            assert bool(solution.certificate.converged.all())


def test_without_damping_what_is_not_in_the_span_is_dropped() -> None:
    matrix, right, names = symmetric([4.0, 3.0, 0.0, 0.0, 0.0], 1), block(2, 5, 1), layout(5)
    for solution in (
        arnoldi(operator(matrix), names.unflatten(right), rank=5, steps=5),
        eigen(operator(matrix), names.unflatten(right), rank=5),
    ):
        truth = right @ torch.linalg.pinv(matrix, rtol=1e-9, hermitian=True)
        torch.testing.assert_close(names.flatten(solution.vectors), truth)
        assert not bool(solution.certificate.converged.any())


def test_negative_eigenvalues_are_named() -> None:
    matrix, right, names = symmetric([4.0, -3.0, 1.0, 0.5, 0.1], 1), block(2, 5, 1), layout(5)
    flagged = arnoldi(operator(matrix), names.unflatten(right), damping=1.0)
    assert bool(flagged.certificate.negative_curvature.all()) and bool(flagged.certificate.converged.all())
    with pytest.raises(NotPositiveDefiniteError, match=r"-3 is not made positive by damping 1: use damping above 3"):
        eigen(operator(matrix), names.unflatten(right), damping=1.0)
    with pytest.raises(ValueError, match="must not be negative"):
        eigen(operator(matrix), names.unflatten(right), damping=-1.0)
