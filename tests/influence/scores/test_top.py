import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from influence.scores import TwoSidedTop

scores = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)


@given(values=scores, k=st.integers(1, 6), cut=st.integers(0, 30), seed=st.integers(0, 100))
def test_streaming_equals_sorting_whatever_the_batches_and_their_order(
    values: list[float], k: int, cut: int, seed: int
) -> None:
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    all_scores = torch.tensor([values, [-value for value in values]])
    first, second = TwoSidedTop(2, k), TwoSidedTop(2, k)
    first.update(all_scores[:, order[:cut]], order[:cut])
    second.update(all_scores[:, order[cut:]], order[cut:])
    first.merge(TwoSidedTop.from_state(k, second.state()))

    ranked = sorted((-value, index) for index, value in enumerate(values) if value > 0)[:k]
    expected = [index for _, index in ranked] + [-1] * (min(k, len(values)) - len(ranked))
    indices, found = first.helpful()
    assert indices[0].tolist() == expected
    assert found[0].tolist() == [-value for value, _ in ranked] + [0.0] * (len(expected) - len(ranked))
    mirrored, negative = first.harmful()
    assert mirrored[1].tolist() == expected and negative[1].tolist() == [-value for value in found[0].tolist()]


@pytest.mark.parametrize("order", ["ascending", "shuffled"])
def test_batches_in_which_few_can_still_be_kept_change_nothing(order: str) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(-40, 41, (3, 4000), generator=generator).double()  # many are equal
    indices = torch.arange(4000) if order == "ascending" else torch.randperm(4000, generator=generator)
    streamed, whole = TwoSidedTop(3, 5), TwoSidedTop(3, 5)
    for part in indices.split(100):
        streamed.update(scores[:, part], part)
    whole.update(scores, torch.arange(4000))
    for name, kept in whole.state().items():
        assert torch.equal(streamed.state()[name], kept)
    assert streamed.helpful()[1].min() == 40 and streamed.harmful()[1].max() == -40
