"""Fusion counts ranks alone."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from influence.detection import fuse

SIGNAL = st.lists(st.integers(-50, 50), min_size=2, max_size=30)
TRANSFORMS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda values: values / 7.0 - 3.0,
    lambda values: values**3,
    lambda values: np.exp(values / 10.0),
]


@given(values=SIGNAL, seed=st.integers(0, 999), transform=st.sampled_from(TRANSFORMS))
def test_monotone_transforms_and_the_order_of_rows_change_nothing(
    values: list[int], seed: int, transform: Callable[[np.ndarray], np.ndarray]
) -> None:
    rng = np.random.default_rng(seed)
    first, second = np.array(values, dtype=float), rng.normal(size=len(values))
    fused = fuse({"first": first, "second": second})
    assert np.allclose(fuse({"first": transform(first), "second": second}), fused)
    order = rng.permutation(len(values))
    assert np.allclose(fuse({"first": first[order], "second": second[order]}), fused[order])


def test_the_closed_form() -> None:
    fused = fuse({"a": np.array([1.0, 2.0, 3.0]), "b": np.array([10.0, 10.0, 1e9])})
    a, b = norm.ppf([1 / 6, 3 / 6, 5 / 6]), norm.ppf([1 / 3, 1 / 3, 5 / 6])  # b's tie shares the rank 1.5
    assert np.allclose(fused, (a + b) / 2)
    weighted = fuse({"a": np.array([1.0, 2.0, 3.0]), "b": np.array([10.0, 10.0, 1e9])}, {"b": 3.0, "a": 1.0})
    assert np.allclose(weighted, (a + 3 * b) / 4)


def test_nothing_to_fuse() -> None:
    with pytest.raises(ValueError, match="no signal"):
        fuse({})
