"""How many examples a false-discovery target allows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence.detection import within_false_discoveries


@pytest.mark.parametrize(("target", "shown"), [(0.0, 1), (0.05, 2), (0.2, 3), (0.4, 4), (1.0, 5)])
def test_the_list_is_as_long_as_its_expected_false_alarms_allow(target: float, shown: int) -> None:
    assert within_false_discoveries(np.array([1.0, 0.9, 0.5, 0.0, 0.0]), target) == shown


@given(st.lists(st.floats(0, 1), max_size=40), st.floats(0, 1))
def test_one_more_would_break_the_target(values: list[float], target: float) -> None:
    probability = np.sort(np.array(values, dtype=float))[::-1]
    count = within_false_discoveries(probability, target)
    assert count == 0 or (1 - probability[:count]).mean() <= target + 1e-6
    assert count == len(values) or (1 - probability[: count + 1]).mean() > target - 1e-6
