import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tasks.intervals import change_interval, paired_change_interval, wilson_interval


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


def test_a_change_between_samples_is_newcombes() -> None:
    # Newcombe 1998, Table II, method 10: 56/70 - 48/80
    assert change_interval(48, 80, 56, 70) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert change_interval(0, 20, 0, 20) == pytest.approx((-0.1611, 0.1611), abs=1e-4)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
def test_a_change_reversed_is_its_negative(counts: tuple[int, int, int]) -> None:
    before, now, total = counts
    low, high = change_interval(before, total, now, total)
    assert change_interval(now, total, before, total) == pytest.approx((-high, -low))
    assert low - 1e-12 <= (now - before) / total <= high + 1e-12


def test_a_paired_change_covers_the_true_one_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for gained, lost, _ in rng.multinomial(200, [0.06, 0.03, 0.91], 2000):
        low, high = paired_change_interval(int(gained), int(lost), 200)
        covered += low <= 0.03 <= high
    assert 0.94 <= covered / 2000 <= 0.98


def test_a_paired_change_of_nothing_still_has_a_width() -> None:
    low, high = paired_change_interval(0, 0, 100)
    assert low == -high < 0
    with pytest.raises(ValueError, match="gained"):
        paired_change_interval(3, 3, 5)
