import pytest
from layer_checks import check, classifier, randn
from torch import nn

from influence.layers.rule import find_rule


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(4, eps=0.1), (4,)),
        (nn.BatchNorm1d(4), (4, 3)),
        (nn.BatchNorm2d(4, eps=0.1), (4, 2, 3)),
    ],
)
def test_it_is_exact_in_evaluation_mode(layer: nn.Module, shape: tuple[int, ...]) -> None:
    inputs = randn(5, *shape)
    check(classifier(layer, inputs), inputs, {"3"}, {"0"})


def test_it_is_nothing_without_parameters() -> None:
    inputs = randn(5, 4)
    check(classifier(nn.BatchNorm1d(4, affine=False), inputs), inputs, {"3"})


def test_statistics_of_the_batch_have_no_rule() -> None:
    assert find_rule(nn.BatchNorm1d(4)) is not None
    assert find_rule(nn.BatchNorm1d(4, track_running_stats=False)) is None
