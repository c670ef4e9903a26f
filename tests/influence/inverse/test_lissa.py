import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import Counted, block, layout, operator, positive_definite, symmetric
from oracle import decay_diagonal, flatten, gauss_newton, make_problem, relative_error, unflatten

from influence.curvature import GaussNewton, LinearOperator, Regularisation
from influence.inverse import lissa
from influence.problem import TensorData


@settings(max_examples=25)
@given(seed=st.integers(0, 9999), condition=st.floats(1.0, 100), size=st.integers(3, 15), scale=st.floats(1e-3, 1e3))
def test_it_finds_scale_and_depth_for_any_operator(seed: int, condition: float, size: int, scale: float) -> None:
    matrix, right, names = scale * positive_definite(size, condition, seed), block(3, size, seed), layout(size)
    right[1] = 0
    counted = Counted(operator(matrix))
    solution = lissa(counted, names.unflatten(right), tolerance=1e-6)
    found = names.flatten(solution.vectors)
    true = (right - found @ matrix).norm(dim=1) / right.norm(dim=1).clamp_min(1e-300)
    assert bool(solution.certificate.converged.all()) and float(true.max()) <= 1.1e-6
    torch.testing.assert_close(solution.certificate.relative_residual, true, rtol=1e-6, atol=1e-14)
    assert solution.certificate.operator_products == counted.products
    assert int(solution.certificate.iterations[1]) == 0


def test_too_small_a_depth_is_said() -> None:
    names = layout(6)
    right = names.unflatten(block(1, 6, 0))
    certificate = lissa(operator(positive_definite(6, 1e6, 0)), right, 1e-6, max_iterations=50).certificate
    assert not bool(certificate.converged.any()) and int(certificate.iterations) == 50
    assert not bool(certificate.stagnated.any()) and not bool(certificate.negative_curvature.any())


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0, -0.5], [-1.0, -2.0, -3.0, -4.0], [0.0, 0.0, 0.0, 0.0]])
def test_divergence_is_named_and_what_is_returned_is_finite(values: list[float]) -> None:
    names = layout(4)
    solution = lissa(operator(symmetric(values, 1)), names.unflatten(block(2, 4, 0)))
    assert solution.certificate.negative_curvature.tolist() == [True, True]
    assert not bool(solution.certificate.converged.any())
    assert float(solution.certificate.relative_residual.max()) <= 10
    assert bool(names.flatten(solution.vectors).isfinite().all())


def test_the_floor_of_rounding_is_named() -> None:
    matrix, names = positive_definite(8, 50, 2).float(), layout(8)
    certificate = lissa(operator(matrix), names.unflatten(block(2, 8, 0, torch.float32)), 1e-12).certificate
    assert certificate.stagnated.tolist() == [True, True] and float(certificate.relative_residual.max()) < 1e-5
    assert int(certificate.iterations.max()) < 2000


@pytest.mark.parametrize("tolerance", [0.1, 0.02])
def test_sampled_batches_reach_the_solution_on_all_the_data(tolerance: float) -> None:
    problem, data = make_problem("mlp without bias", examples=60)
    dense = gauss_newton(problem, data) + decay_diagonal(problem).diag()
    dense += 0.3 * torch.eye(problem.parameter_count, dtype=torch.float64)

    def moved(part: TensorData) -> LinearOperator:
        return GaussNewton(problem, part) + Regularisation(problem) + 0.3

    def sample(step: int) -> LinearOperator:
        chosen = torch.randint(len(data), (20,), generator=torch.Generator().manual_seed(step))
        return moved(TensorData(data.inputs[chosen], data.targets[chosen]))

    right = block(3, problem.parameter_count, 1)
    solution = lissa(moved(data), unflatten(right, problem.parameters), tolerance, 1024, sample)
    found = flatten(solution.vectors)
    true = (right - found @ dense).norm(dim=1) / right.norm(dim=1)
    torch.testing.assert_close(solution.certificate.relative_residual, true, rtol=1e-8, atol=1e-12)
    assert bool(solution.certificate.converged.all())
    assert relative_error(found, torch.linalg.solve(dense, right.T).T) <= 5 * tolerance


def test_samples_that_never_agree_stop_as_stagnated_and_those_larger_than_seen_slow_it_down() -> None:
    matrix, names = positive_definite(5, 5, 0), layout(5)
    right = names.unflatten(block(2, 5, 3))

    def noisy(step: int) -> LinearOperator:
        noise = symmetric(block(1, 5, step)[0].abs(), step)
        return operator(matrix + (noise if step < 4 else 40 * noise))

    certificate = lissa(operator(matrix), right, 1e-9, 4000, noisy).certificate
    assert bool(certificate.stagnated.all()) and not bool(certificate.converged.any())
    assert float(certificate.relative_residual.max()) <= 1.0
