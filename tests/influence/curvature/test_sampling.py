import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from influence.curvature.sampling import inclusion_probabilities, systematic_sample

SIZES = st.lists(st.floats(0, 1e6) | st.floats(0, 1e-6), min_size=1, max_size=40)


@given(sizes=SIZES, expected=st.integers(1, 50))
def test_probabilities_follow_the_sizes_and_add_up(sizes: list[float], expected: int) -> None:
    given_sizes = torch.tensor(sizes, dtype=torch.float64)
    found = inclusion_probabilities(given_sizes, expected)
    counted = given_sizes > 2.0**-52 * given_sizes.max()
    positive = int(counted.sum())
    assert bool(((found >= 0) & (found <= 1)).all()) and not bool(found[~counted].any())
    assert float(found.sum()) == pytest.approx(min(expected, positive), rel=1e-9)
    free = (found > 0) & (found < 1)
    if bool(free.any()):
        rates = found[free] / given_sizes[free]
        torch.testing.assert_close(rates, rates[:1].expand_as(rates), rtol=1e-9, atol=0.0)
        capped = given_sizes[found == 1]
        assert bool((capped * rates[0] >= 1 - 1e-9).all())


@given(sizes=SIZES, expected=st.integers(1, 50), seed=st.integers(0, 999))
def test_a_draw_has_the_wanted_number_none_twice_and_all_that_are_certain(
    sizes: list[float], expected: int, seed: int
) -> None:
    probabilities = inclusion_probabilities(torch.tensor(sizes, dtype=torch.float64), expected)
    drawn = systematic_sample(probabilities, seed)
    assert abs(len(drawn) - float(probabilities.sum())) <= 1
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert bool((probabilities[drawn] > 0).all())
    assert set((probabilities >= 1).nonzero().squeeze(1).tolist()) <= set(drawn.tolist())


def test_every_term_is_drawn_as_often_as_its_probability_says() -> None:
    probabilities = inclusion_probabilities(torch.tensor([5.0, 1.0, 0.0, 3.0, 0.5, 2.0, 2.5]), 3)
    drawn = torch.zeros(7, dtype=torch.float64)
    for seed in range(4000):
        drawn[systematic_sample(probabilities, seed)] += 1 / 4000
    assert float((drawn - probabilities).abs().max()) <= 4 * 0.5 / 4000**0.5


def test_sizes_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        inclusion_probabilities(torch.tensor([1.0, -1.0]), 1)
    with pytest.raises(ValueError, match="finite"):
        inclusion_probabilities(torch.tensor([1.0, torch.nan]), 1)
    with pytest.raises(ValueError, match="at least one"):
        inclusion_probabilities(torch.tensor([1.0]), 0)
