import pytest
from layer_checks import check, classifier, randn
from torch import nn


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "normalised"), [((4,), (4,)), ((3, 4), (4,)), ((2, 3, 4), (4,)), ((2, 3, 4), (3, 4)), ((3, 4), (3, 4))]
)
def test_it_is_exact_over_any_of_the_last_axes(shape: tuple[int, ...], normalised: tuple[int, ...], bias: bool) -> None:
    inputs = randn(5, *shape)
    check(classifier(nn.LayerNorm(normalised, eps=0.1, bias=bias), inputs), inputs, {"3"}, {"0"})


def test_it_is_nothing_without_parameters() -> None:
    inputs = randn(5, 4)
    check(classifier(nn.LayerNorm(4, elementwise_affine=False), inputs), inputs, {"3"})
