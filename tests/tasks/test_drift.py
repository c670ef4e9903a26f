from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tasks.changes import AccuracyChange
from tasks.drift import alerts
from tasks.history import Group, Run
from tasks.parameters import Drift

START = datetime(2026, 1, 1, tzinfo=UTC)


def run(day: int, **errors: float) -> Run:
    """A run with these expected errors in classes of 400 examples."""
    groups = [Group(None, name, 400, 0, value) for name, value in errors.items()]
    return Run(f"{day:016x}", START + timedelta(days=day), {"test": 0.9}, groups, {})


def test_a_class_that_went_bad_is_told_with_its_interval() -> None:
    earlier = [run(1, cat=20, dog=20), run(2, cat=24, dog=20)]
    (alert,) = alerts(run(3, cat=62, dog=28), earlier, None, Drift(rate=0.05))
    assert (alert.kind, alert.group) == ("class", "cat")
    assert (alert.before, alert.now) == (pytest.approx(0.055), pytest.approx(0.155))
    assert 0 < alert.low < 0.1 < alert.high
    said = "The share of labels that came wrong, found or expected, rose from 5.5 % to 15.5 %, by +"
    assert alert.words.startswith(said)


def test_one_that_got_better_is_told_too_and_the_largest_change_comes_first() -> None:
    found = alerts(run(2, cat=20, dog=160), [run(1, cat=80, dog=20)], None, Drift(rate=0.05))
    assert [(alert.group, alert.now > alert.before) for alert in found] == [("dog", True), ("cat", False)]


def test_a_change_within_the_limit_or_within_chance_is_none() -> None:
    assert alerts(run(2, cat=38), [run(1, cat=20)], None, Drift(rate=0.05)) == []
    few = Run("0" * 16, START, {}, [Group("site", "north", 20, 0, 3.0)], {})
    none = Run("1" * 16, START, {}, [Group("site", "north", 20, 0, 1.0)], {})
    assert alerts(few, [none], None, Drift(rate=0.05)) == []


def test_only_the_last_runs_count() -> None:
    earlier = [run(1, cat=200), run(2, cat=20), run(3, cat=20)]
    assert alerts(run(4, cat=20), earlier, None, Drift(runs=2)) == []
    assert len(alerts(run(4, cat=20), earlier, None, Drift(runs=3))) == 1


def test_there_is_no_drift_without_a_past() -> None:
    assert alerts(run(1, cat=200), [], None, Drift()) == []
    assert alerts(run(2, bird=200), [run(1, cat=0)], None, Drift()) == []
    assert alerts(run(2, cat=200), [run(1, cat=0)], None, Drift(rate=None)) == []


def test_the_accuracy_is_told_where_it_fell_beyond_limit_and_chance() -> None:
    def found(before: float, after: float, high: float) -> list[str]:
        change = AccuracyChange(before, after, after - before - 0.01, high, 1000, 0)
        return [alert.words for alert in alerts(run(1), [run(0)], change, Drift(accuracy=0.02))]

    assert found(0.9, 0.85, -0.02) == [
        "The test accuracy fell from 90.0 % to 85.0 %, by -6.0 to -2.0 points if chance is allowed for."
    ]
    assert found(0.9, 0.85, 0.01) == [] and found(0.9, 0.89, -0.005) == [] and found(0.85, 0.9, 0.1) == []


def test_where_nothing_changed_alerts_are_rare() -> None:
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        draws = rng.binomial(400, 0.1, (2, 10))
        then, now = ({f"c{i}": float(n) for i, n in enumerate(row)} for row in draws)
        alarms += bool(alerts(run(2, **now), [run(1, **then)], None, Drift(rate=0.0)))
    assert alarms <= 0.08 * 200
