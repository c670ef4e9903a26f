import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tasks.intervals import wilson_interval


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_it_is_scipys(counts: tuple[int, int]) -> None:
    found, total = counts
    expected = binomtest(found, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(found, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_ends_are_shares() -> None:
    assert wilson_interval(0, 3)[0] == 0.0 and wilson_interval(3, 3)[1] == 1.0


@pytest.mark.parametrize(("found", "total"), [(0, 0), (4, 3), (-1, 3)])
def test_what_is_no_share_is_refused(found: int, total: int) -> None:
    with pytest.raises(ValueError, match="a share needs"):
        wilson_interval(found, total)
