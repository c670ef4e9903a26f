"""A fall of trust between two runs."""

from typing import Any

import pytest

from tasks.validation.decline import decline


def measured(value: float, low: float, high: float, *warnings: str, method: str = "retraining") -> dict[str, Any]:
    scores = {"influence": {"value": value, "low": low, "high": high}}
    return {"method": method, "scores": scores, "warnings": list(warnings)}


def test_a_fall_beyond_both_intervals_is_told() -> None:
    found = decline(measured(0.6, 0.5, 0.7), measured(0.3, 0.2, 0.4))
    assert found == "the scores' correlation with retraining fell from 0.60 (0.50 to 0.70) to 0.30 (0.20 to 0.40)"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ((0.6, 0.5, 0.7), (0.55, 0.45, 0.65)),
        ((0.6, 0.2, 0.8), (0.3, 0.25, 0.35)),  # the first was too uncertain to tell
        ((0.6, 0.5, 0.7), (0.4, 0.1, 0.65)),  # the second was
        ((0.3, 0.2, 0.4), (0.6, 0.5, 0.7)),
    ],
)
def test_what_chance_may_explain_and_a_rise_are_not(
    before: tuple[float, float, float], now: tuple[float, float, float]
) -> None:
    assert decline(measured(*before), measured(*now)) is None


def test_measurements_of_two_kinds_are_not_compared() -> None:
    assert decline(measured(0.9, 0.8, 1.0, method="leave-one-out"), measured(0.3, 0.2, 0.4)) is None
    assert decline({"method": "none", "warnings": ["x"]}, {"method": "none", "warnings": ["x"]}) is None


def test_a_verdict_that_begins_to_warn_has_fallen() -> None:
    sound, warned = measured(0.6, 0.5, 0.7), measured(0.6, 0.5, 0.7, "no better than chance")
    assert decline(sound, warned) == "the verdict now warns: no better than chance"
    assert decline(warned, warned) is None and decline(warned, sound) is None
