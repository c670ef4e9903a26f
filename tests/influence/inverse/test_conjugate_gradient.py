import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from influence.curvature import LinearOperator
from influence.inverse import conjugate_gradient
from influence.vectors import Vectors


class Dense(LinearOperator):
    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.products = matrix, 0

    def multiply(self, vectors: Vectors) -> Vectors:
        flat = torch.cat([vectors["a"].flatten(1), vectors["b"]], dim=1)
        self.products += len(flat)
        return split(flat @ self.matrix.T)


def split(flat: Tensor) -> Vectors:
    """Six numbers as a matrix [2, 2] and a vector [2]."""
    return {"a": flat[:, :4].reshape(-1, 2, 2), "b": flat[:, 4:]}


def join(vectors: Vectors) -> Tensor:
    return torch.cat([vectors["a"].flatten(1), vectors["b"]], dim=1)


def positive_definite(seed: int, condition: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    return basis @ torch.logspace(0, torch.tensor(condition).log10().item(), 6, dtype=torch.float64).diag() @ basis.T


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), condition=st.floats(1.0, 1e6), columns=st.integers(1, 5))
def test_solutions_equal_a_direct_solve_and_certificates_are_true(seed: int, condition: float, columns: int) -> None:
    matrix = positive_definite(seed, condition)
    right = torch.randn(columns, 6, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    solution = conjugate_gradient(Dense(matrix), split(right), tolerance=1e-9, max_iterations=200)
    found = join(solution.vectors)
    residual = (right - found @ matrix.T).norm(dim=1) / right.norm(dim=1)
    torch.testing.assert_close(solution.certificate.relative_residual, residual, rtol=1e-3, atol=1e-12)
    assert bool(solution.certificate.converged.all()) and float(residual.max()) <= 1.1e-9
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right.T).T, rtol=0, atol=1.1e-9 * condition * 20)


def test_a_good_preconditioner_needs_one_step() -> None:
    matrix = positive_definite(1, 1e5)
    right = torch.ones(2, 6, dtype=torch.float64)
    inverse = torch.linalg.inv(matrix)
    solution = conjugate_gradient(
        Dense(matrix), split(right), tolerance=1e-6, preconditioner=lambda vectors: split(join(vectors) @ inverse)
    )
    assert solution.certificate.iterations.tolist() == [1, 1]
    assert conjugate_gradient(Dense(matrix), split(right), tolerance=1e-6).certificate.iterations.min() > 1


def test_each_column_stops_by_itself_and_its_products_are_counted() -> None:
    matrix = torch.diag(torch.tensor([1.0, 10.0, 100.0, 1e3, 1e4, 1e5], dtype=torch.float64))
    right = torch.stack(
        [torch.eye(6, dtype=torch.float64)[0], torch.ones(6, dtype=torch.float64), torch.zeros(6).double()]
    )
    operator = Dense(matrix)
    certificate = conjugate_gradient(operator, split(right), tolerance=1e-10).certificate
    assert certificate.iterations[0] == 1 and certificate.iterations[1] >= 6 and certificate.iterations[2] == 0
    assert bool(certificate.converged.all()) and float(certificate.relative_residual[2]) == 0.0
    assert certificate.operator_products == operator.products


def test_a_column_solved_alone_has_the_same_answer() -> None:
    matrix, right = positive_definite(4, 1e3), torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).double()
    together = join(conjugate_gradient(Dense(matrix), split(right), tolerance=1e-4).vectors)
    for column in range(3):
        alone = join(conjugate_gradient(Dense(matrix), split(right[column : column + 1]), tolerance=1e-4).vectors)
        torch.testing.assert_close(together[column : column + 1], alone, rtol=1e-9, atol=1e-12)


def test_too_few_iterations_are_said_not_hidden() -> None:
    matrix, right = positive_definite(2, 1e6), torch.ones(1, 6, dtype=torch.float64)
    certificate = conjugate_gradient(Dense(matrix), split(right), tolerance=1e-10, max_iterations=2).certificate
    assert not bool(certificate.converged[0]) and float(certificate.relative_residual[0]) > 1e-10


def test_negative_curvature_is_named() -> None:
    matrix = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, -1.0], dtype=torch.float64))
    right = torch.eye(6, dtype=torch.float64)[[0, 5]]
    certificate = conjugate_gradient(Dense(matrix), split(right)).certificate
    assert certificate.negative_curvature.tolist() == [False, True]
    assert certificate.converged.tolist() == [True, False]


def test_nan_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        conjugate_gradient(Dense(torch.full((6, 6), torch.nan, dtype=torch.float64)), split(torch.ones(1, 6).double()))


def test_a_column_at_the_floor_of_rounding_stops_and_says_so() -> None:
    matrix = positive_definite(3, 1e4).float()
    right = torch.ones(2, 6)
    right[1] = matrix[:, 0]
    certificate = conjugate_gradient(Dense(matrix), split(right), tolerance=1e-12, max_iterations=10_000).certificate
    assert certificate.stagnated.tolist() == [True, True] and not bool(certificate.converged.any())
    assert int(certificate.iterations.max()) < 200
    assert float(certificate.relative_residual.max()) < 1e-2


def test_in_float32_a_column_converges_truly_or_says_that_it_stands_still() -> None:
    """The residual of the recurrence drifts from the true one; only the true one counts."""
    matrix = positive_definite(3, 1e3).float()
    right = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    solution = conjugate_gradient(Dense(matrix), split(right), tolerance=1e-5, max_iterations=500)
    true = (right.double() - join(solution.vectors).double() @ matrix.double()).norm(dim=1) / right.norm(dim=1)
    assert bool(((true <= 2e-5) | solution.certificate.stagnated).all())
    assert float(solution.certificate.converged.float().mean()) >= 0.8


@pytest.mark.parametrize("exponent", [-30, -25, 25, 30])
def test_the_size_of_the_right_hand_side_does_not_matter(exponent: int) -> None:
    matrix, right = positive_definite(5, 1e2).float(), torch.ones(1, 6)
    usual = conjugate_gradient(Dense(matrix), split(right), tolerance=1e-4)
    found = conjugate_gradient(Dense(matrix), split(right * 2.0**exponent * 2.0**exponent), tolerance=1e-4)
    assert torch.equal(join(found.vectors) * 2.0**-exponent * 2.0**-exponent, join(usual.vectors))
    assert torch.equal(found.certificate.relative_residual, usual.certificate.relative_residual)


def test_bad_preconditioners_and_bad_right_hand_sides_are_errors() -> None:
    matrix, right = positive_definite(5, 1e2), torch.ones(1, 6, dtype=torch.float64)
    with pytest.raises(ValueError, match="preconditioner is not positive definite"):
        conjugate_gradient(Dense(matrix), split(right), preconditioner=lambda vectors: split(-join(vectors)))
    with pytest.raises(FloatingPointError, match="preconditioner returned NaN"):
        conjugate_gradient(Dense(matrix), split(right), preconditioner=lambda vectors: split(torch.nan * right))
    with pytest.raises(FloatingPointError, match="right-hand side holds NaN"):
        conjugate_gradient(Dense(matrix), split(torch.inf * right))


def test_every_step_tells_how_many_columns_took_it() -> None:
    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype=torch.float64))
    right = torch.stack([torch.eye(6, dtype=torch.float64)[0], torch.ones(6, dtype=torch.float64)])
    told: list[int] = []
    certificate = conjugate_gradient(Dense(matrix), split(right), tolerance=1e-8, on_step=told.append).certificate
    assert told == [2] + [1] * (int(certificate.iterations[1]) - 1)
