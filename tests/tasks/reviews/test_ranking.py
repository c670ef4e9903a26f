import numpy as np
import pytest

from tasks.reviews.ranking import shares_below


def test_a_share_counts_the_smaller_and_half_of_the_equal() -> None:
    assert shares_below(np.array([3.0, 1.0, 2.0])) == pytest.approx([1.0, 0.0, 0.5])
    assert shares_below(np.array([5.0, 5.0, 1.0])) == pytest.approx([0.75, 0.75, 0.0])
    assert shares_below(np.array([7.0])) == pytest.approx([0.0])
