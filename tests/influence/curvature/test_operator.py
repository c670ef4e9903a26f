"""The algebra of operators against the algebra of matrices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import block, layout, operator, positive_definite, symmetric

from influence.curvature import Dense, Identity, LinearOperator, LowRank
from influence.vectors import Vectors

SIZE = 7
EYE = torch.eye(SIZE, dtype=torch.float64)


class Plain(LinearOperator):
    """An operator of which nothing is known but its products."""

    def __init__(self, inner: LinearOperator) -> None:
        self.inner = inner

    def multiply(self, vectors: Vectors) -> Vectors:
        return self.inner.multiply(vectors)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), factor=st.floats(-3, 3), shift=st.floats(-2, 2))
def test_sums_differences_scales_and_products(seed: int, factor: float, shift: float) -> None:
    a, b = positive_definite(SIZE, 10, seed), positive_definite(SIZE, 10, seed + 1)
    left, right = operator(a), operator(b)
    flat, names = block(3, SIZE, seed), layout(SIZE)
    cases = [
        (left + right, a + b),
        (left - right, a - b),
        (-left, -a),
        (factor * left - shift, factor * a - shift * EYE),
        (left @ right, a @ b),
        (left @ right @ left + 0.5, a @ b @ a + 0.5 * EYE),
        ((left - right) @ (factor * Identity()), factor * (a - b)),
    ]
    for found, truth in cases:
        answer = names.flatten(found @ names.unflatten(flat))
        torch.testing.assert_close(answer, flat @ truth.T, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
def test_scaled_and_shifted_operators_keep_their_powers(exponent: float) -> None:
    a, flat, names = positive_definite(SIZE, 100, 3), block(3, SIZE, 4), layout(SIZE)
    for base, matrix in ((operator(a), a), (Identity(), EYE)):
        values, basis = torch.linalg.eigh(2.0 * (matrix + 0.5 * EYE) + 0.25 * EYE)
        found = (2.0 * (base + 0.5)).power(names.unflatten(flat), exponent, 0.25)
        truth = flat @ basis @ (values**exponent).diag() @ basis.T
        torch.testing.assert_close(names.flatten(found), truth, rtol=1e-9, atol=1e-10)


def test_whole_powers_need_products_only_and_others_are_refused() -> None:
    a, flat, names = positive_definite(SIZE, 10, 3), block(3, SIZE, 4), layout(SIZE)
    plain = Plain(operator(a))
    found = names.flatten(plain.power(names.unflatten(flat), 3, 0.5))
    torch.testing.assert_close(found, flat @ torch.linalg.matrix_power(a + 0.5 * EYE, 3))
    negated = names.flatten((-operator(a)).power(names.unflatten(flat), 2, 0.5))
    torch.testing.assert_close(negated, flat @ torch.linalg.matrix_power(0.5 * EYE - a, 2))
    for refused in (plain, plain + plain, -operator(a)):
        with pytest.raises(TypeError, match=r"has no power -0\.5"):
            refused.power(names.unflatten(flat), -0.5)


def test_dense_is_materialised_by_name_and_its_bad_inputs_are_named() -> None:
    a, names = positive_definite(SIZE, 10, 3), layout(SIZE)
    like = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in names.shapes.items()}
    dense = Dense.of(Plain(operator(a)), like)
    torch.testing.assert_close(dense.matrix, a)
    assert dense.mean_eigenvalue() == pytest.approx(float(a.trace()) / SIZE)
    with pytest.raises(ValueError, match=r"dense matrix of 7 parameters takes .* GiB and is refused above 6"):
        Dense.of(operator(a), like, largest=6)
    with pytest.raises(ValueError, match="not symmetric"):
        Dense.of(operator(a) @ operator(symmetric(range(1, SIZE + 1), 1)), like)
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        Dense.of(torch.nan * operator(a), like)


def test_powers_that_do_not_exist_are_refused() -> None:
    names = layout(SIZE)
    vectors = names.unflatten(block(1, SIZE, 0))
    with pytest.raises(ZeroDivisionError, match="zero eigenvalue"):
        operator(symmetric([0, 1, 2, 3, 4, 5, 6])).power(vectors, -1.0)
    with pytest.raises(ValueError, match=r"no power 0\.5: the smallest eigenvalue is -1"):
        operator(symmetric([-1, 1, 2, 3, 4, 5, 6])).power(vectors, 0.5)
    with pytest.raises(ZeroDivisionError, match="does not exist"):
        Identity().power(vectors, -1.0, -1.0)
    assert Identity().mean_eigenvalue() == 1.0


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.5, 1.0, 2.0])
def test_low_rank_powers_count_the_rest_as_the_shift(exponent: float) -> None:
    names, flat = layout(SIZE), block(3, SIZE, 5)
    basis = torch.linalg.qr(block(SIZE, SIZE, 6))[0][:, :3].T
    low = LowRank(basis, torch.tensor([3.0, 2.0, 0.5], dtype=torch.float64), names)
    values, vectors = torch.linalg.eigh(basis.T @ low.values.diag() @ basis + 0.1 * EYE)
    truth = flat @ vectors @ (values**exponent).diag() @ vectors.T
    torch.testing.assert_close(names.flatten(low.power(names.unflatten(flat), exponent, 0.1)), truth)
    torch.testing.assert_close(names.flatten(low @ names.unflatten(flat)), flat @ basis.T @ low.values.diag() @ basis)
    with pytest.raises(ZeroDivisionError, match="low rank is singular"):
        low.power(names.unflatten(flat), -1.0)
    with pytest.raises(ValueError, match=r"smallest eigenvalue is -0\.1"):
        low.power(names.unflatten(flat), 0.5, -0.1)
