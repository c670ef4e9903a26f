"""The verdict says what the numbers allow, and no more."""

from typing import Any

import pytest

from tasks.validation.verdict import judge_halves, judge_leave_one_out, judge_solver, unmeasured


def interval(value: float, margin: float) -> dict[str, float]:
    return {"value": value, "low": value - margin, "high": value + margin}


def on_halves(own: float = 0.48, gradient: float = 0.16, ceiling: float | None = 0.62) -> dict[str, Any]:
    scores = {"influence": own, "gradient_product": gradient, "similarity": 0.1}
    return {
        "subsets": 20,
        "seeds": 2,
        "queries": 64,
        "scores": {name: interval(value, 0.03) for name, value in scores.items()},
        "above": {name: interval(own - value, 0.04) for name, value in scores.items() if name != "influence"},
        "ceiling": None if ceiling is None else interval(ceiling, 0.05),
    }


def exactly(own: float = 0.97, factor: float = 0.95) -> dict[str, Any]:
    found = on_halves(own)
    return {**found, "among_top": own, "among_random": 0.9, "actual_over_predicted": factor}


def test_good_scores_are_trusted_for_their_order() -> None:
    verdict = judge_halves(on_halves())
    assert verdict.warnings == []
    assert "LDS 0.48 ± 0.03 over 64 queries; ceiling 0.62 ± 0.05; gradient product 0.16" in verdict.text
    assert verdict.text.endswith("Trust the order of the top lists, not their size.")


def test_scores_like_chance_are_not() -> None:
    verdict = judge_halves(on_halves(own=0.02, gradient=0.01))
    assert "no better than chance" in verdict.warnings[0] and "Do not rely on the scores" in verdict.text


@pytest.mark.parametrize(
    ("gradient", "message"),
    [(0.47, "not measurably better than the gradient product"), (0.6, "better than the scores")],
)
def test_a_baseline_as_good_or_better_is_named(gradient: float, message: str) -> None:
    (warning,) = judge_halves(on_halves(gradient=gradient)).warnings
    assert message in warning and "difference" in warning


def test_a_low_ceiling_means_that_nobody_can_tell() -> None:
    verdict = judge_halves(on_halves(own=0.2, gradient=0.1, ceiling=0.21))
    assert any("can tell little: raise `validate.seeds`" in warning for warning in verdict.warnings)
    assert "ceiling unknown" in judge_halves(on_halves(ceiling=None)).text


def test_exact_retraining_that_agrees_is_trusted_for_order_and_size() -> None:
    verdict = judge_leave_one_out(exactly(), examples=40, queries=64)
    assert verdict.warnings == [] and verdict.text.endswith("Trust order and size.")


def test_sizes_that_are_off_are_said_to_be() -> None:
    verdict = judge_leave_one_out(exactly(factor=0.5), examples=40, queries=64)
    assert "sizes are off" in verdict.warnings[0] and verdict.text.endswith("not their size.")
    verdict = judge_leave_one_out(exactly(own=0.5), examples=40, queries=64)
    assert "do not predict exact retraining" in verdict.warnings[0] and "Do not rely" in verdict.text


def test_the_solver_is_heard() -> None:
    report = {"queries": 64, "converged": 60, "largest_residual": 0.31, "negative_curvature": 2}
    first, second = judge_solver(report)
    assert "4 of 64 queries were not solved" in first and "0.31" in first and "negative curvature for 2" in second
    assert judge_solver({**report, "converged": 64, "negative_curvature": 0}) == []


def test_nothing_measured_is_a_warning() -> None:
    assert unmeasured("no budget").warnings != [] and "no budget" in unmeasured("no budget").text
