"""Seeds derived from several numbers, and the switch to deterministic algorithms."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.determinism import derived_seed, deterministic

PARTS = st.lists(st.integers(-(2**63), 2**63), min_size=1, max_size=3).map(tuple)


@given(PARTS, PARTS)
def test_different_parts_give_different_seeds_that_torch_takes(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    assert derived_seed(*a) == derived_seed(*a)
    assert (derived_seed(*a) == derived_seed(*b)) == ([p % 2**64 for p in a] == [p % 2**64 for p in b])
    torch.Generator().manual_seed(derived_seed(*a))


def test_the_switch_is_put_back() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
