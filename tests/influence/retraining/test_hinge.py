import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from influence.retraining import HingeMinimum, minimise_hinge

DECAY = 0.1


def examples(count: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two overlapping classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(2, (count,), generator=generator) * 2 - 1
    inputs = torch.randn(count, width, generator=generator, dtype=torch.float64) + 0.7 * targets.unsqueeze(1)
    return inputs, targets


def objective(minimum: HingeMinimum) -> float:
    losses = (1 - minimum.margins).clamp_min(0)[minimum.kept]
    return float(losses.mean() + minimum.weight_decay / 2 * minimum.theta.square().sum())


def dual_bound(inputs: Tensor, targets: Tensor) -> float:
    """The largest value of the dual objective, by another solver: no minimum is below it."""
    signed, count = (targets.unsqueeze(1) * inputs).numpy(), len(inputs)

    def negative(alpha: object) -> tuple[float, object]:
        theta = signed.T @ alpha / (count * DECAY)
        return DECAY / 2 * theta @ theta - alpha.mean(), (signed @ theta - 1) / count  # type: ignore[attr-defined]

    bounds, options = [(0, 1)] * count, {"ftol": 1e-15, "maxiter": 1000}
    return -float(minimize(negative, [0.5] * count, jac=True, bounds=bounds, method="SLSQP", options=options).fun)


@settings(max_examples=20)
@given(count=st.integers(2, 40), width=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_it_reaches_the_bound_that_the_dual_sets(count: int, width: int, seed: int) -> None:
    inputs, targets = examples(count, width, seed)
    minimum = minimise_hinge(inputs, targets, DECAY)
    assert minimum.violation <= 1e-9
    assert objective(minimum) == pytest.approx(dual_bound(inputs, targets), abs=1e-7)
    slope = minimum.signed.T @ minimum.alpha / count
    torch.testing.assert_close(DECAY * minimum.theta, slope, rtol=1e-9, atol=1e-12)


@settings(max_examples=20)
@given(count=st.integers(3, 40), width=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_following_the_active_set_ends_where_training_without_the_example_ends(
    count: int, width: int, seed: int
) -> None:
    inputs, targets = examples(count, width, seed)
    minimum = minimise_hinge(inputs, targets, DECAY)
    for index in range(0, count, 5):
        rest = torch.arange(count) != index
        expected = minimise_hinge(inputs[rest], targets[rest], DECAY)
        found = minimum.without(index)
        torch.testing.assert_close(found.theta, expected.theta, rtol=1e-7, atol=1e-8)
        assert found.violation <= 1e-9 and float(found.alpha[index]) == 0.0 and not bool(found.kept[index])


def test_holding_the_active_set_is_exact_where_it_does_not_change() -> None:
    inputs, targets = examples(200, 3, 1)
    minimum = minimise_hinge(inputs, targets, DECAY)
    kinds = {"same": 0, "other": 0}
    for index in range(60):
        exact, held = minimum.without(index), minimum.step_without(index)
        expected = minimum.free.clone()
        expected[index] = False
        if exact.free.equal(expected):
            torch.testing.assert_close(held, exact.theta, rtol=1e-9, atol=1e-11)
        kinds["same" if exact.free.equal(expected) else "other"] += 1
    assert kinds["same"] > 10


def test_repeated_examples_on_the_margin_are_no_obstacle() -> None:
    inputs, targets = examples(30, 2, 3)
    once = minimise_hinge(inputs, targets, DECAY)
    twice = minimise_hinge(inputs.repeat(2, 1), targets.repeat(2), DECAY)
    assert int(once.free.sum()) > 0
    torch.testing.assert_close(twice.theta, once.theta, rtol=1e-8, atol=1e-9)


def test_bad_input_is_named() -> None:
    inputs, targets = examples(10, 2, 0)
    with pytest.raises(ValueError, match="in float64, not"):
        minimise_hinge(inputs.float(), targets, DECAY)
    with pytest.raises(ValueError, match=r"are -1 or \+1"):
        minimise_hinge(inputs, (targets + 1) // 2, DECAY)
    with pytest.raises(ValueError, match="weight_decay must be positive"):
        minimise_hinge(inputs, targets, 0.0)
