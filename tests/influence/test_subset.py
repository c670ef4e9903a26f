import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from influence import subset
from influence.problem import TensorData
from influence.subset import membership, take


@given(indices=st.lists(st.integers(0, 10), min_size=1, max_size=20), read=st.integers(1, 12))
def test_examples_come_in_the_order_asked_for(indices: list[int], read: int) -> None:
    data = TensorData(torch.arange(33.0).view(11, 3), torch.arange(11))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subset, "READ", read)
        found = take(data, indices)
    assert found.targets.tolist() == indices
    assert torch.equal(found.inputs, data.inputs[indices])


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([], "no position"),
        ([0, 11], "no training example 11: positions go from 0 to 10"),
        ([-1], "no training example -1"),
        ([0.5], "whole numbers, not torch.float32"),
        ([[1, 2]], "whole numbers, not torch.int64 in 2 dimensions"),
        ([True], "whole numbers, not torch.bool"),
    ],
)
def test_bad_positions_are_named(indices: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        take(TensorData(torch.zeros(11, 3), torch.zeros(11)), indices)


def test_membership_says_who_belongs_where() -> None:
    assert membership([[2, 0], torch.tensor([1])], 3).tolist() == [[True, False, True], [False, True, False]]
    for sets, message in (
        ([], "no set"),
        ([[]], "no position"),
        ([[0, 0]], "twice"),
        ([[0, 1, 2]], "a set of 3 of 3 examples cannot be left out"),
    ):
        with pytest.raises(ValueError, match=message):
            membership(sets, 3)
