import pytest
from layer_checks import check, classifier, randn
from torch import nn


@pytest.mark.parametrize(("positions", "groups"), [((), 1), ((), 2), ((3,), 2), ((2, 3), 4), ((2, 1, 2), 1)])
def test_it_is_exact_at_any_number_of_positions(positions: tuple[int, ...], groups: int) -> None:
    inputs = randn(5, 4, *positions)
    check(classifier(nn.GroupNorm(groups, 4, eps=0.1), inputs), inputs, {"3"}, {"0"})


def test_it_is_nothing_without_parameters() -> None:
    inputs = randn(5, 4, 3)
    check(classifier(nn.GroupNorm(2, 4, affine=False), inputs), inputs, {"3"})
