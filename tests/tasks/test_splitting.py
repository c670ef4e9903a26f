import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.splitting import split

ids_of_examples = st.lists(st.text(min_size=1, max_size=8), min_size=10, max_size=80, unique=True)


def split_of(ids: list[str], rows: dict) -> dict[str, str]:
    return {ids[row]: name for name, positions in rows.items() for row in positions}


@given(ids_of_examples, st.integers(0, 5))
def test_every_example_is_in_one_split_in_order(ids: list[str], seed: int) -> None:
    rows = split(ids, seed, validation=0.2, test=3)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(ids)))
    assert all((np.diff(positions) > 0).all() for positions in rows.values())
    assert len(rows["test"]) == 3
    assert len(rows["validation"]) == round(0.2 * len(ids))


@given(ids_of_examples, st.text(min_size=9, max_size=9), st.integers(0, 80))
def test_an_inserted_row_moves_at_most_one_example_across_each_border(ids: list[str], new: str, place: int) -> None:
    before = split_of(ids, split(ids, 0, validation=4, test=3))
    longer = [*ids[:place], new, *ids[place:]]
    after = split_of(longer, split(longer, 0, validation=4, test=3))
    assert sum(before[example] != after[example] for example in ids) <= 2


@given(ids_of_examples, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(ids: list[str], random) -> None:
    shuffled = random.sample(ids, len(ids))
    original = split_of(ids, split(ids, 1, validation=0.3, test=0.1))
    assert original == split_of(shuffled, split(shuffled, 1, validation=0.3, test=0.1))


def test_the_seed_decides() -> None:
    ids = [str(number) for number in range(200)]
    first, again, other = (split(ids, seed, validation=0.1, test=0.1)["test"].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_split_may_be_without_test_examples() -> None:
    assert len(split(["a", "b", "c"], 0, validation=1, test=0)["test"]) == 0


def test_nothing_left_to_train_on() -> None:
    with pytest.raises(UserError, match=r"no example of 10 is left to train on after 6 for validation and 4 for test"):
        split([str(number) for number in range(10)], 0, validation=6, test=4)


def test_no_validation_example() -> None:
    with pytest.raises(UserError, match=r"`prepare.validation: 0.01` of 10 examples is none"):
        split([str(number) for number in range(10)], 0, validation=0.01, test=1)


def test_equal_keys_stay_together() -> None:
    keys = [f"k{number // 2}" for number in range(200)]
    rows = split(keys, seed=3, validation=20, test=40)
    held = {name: {keys[row] for row in members} for name, members in rows.items()}
    assert not held["train"] & held["test"] and not held["train"] & held["validation"]
