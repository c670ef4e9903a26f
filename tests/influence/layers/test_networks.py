"""Whole networks of the kinds people train, with every layer exact at once."""

import pytest
from layer_checks import check, randn, randomised, tokens
from torch import nn
from whole_networks import Mobile, SmallTransformer, residual_network, resnet9


def names(model: nn.Module, *types: type[nn.Module]) -> set[str]:
    return {name for name, module in model.named_modules() if type(module) in types}


def test_a_residual_network() -> None:
    model = randomised(residual_network())
    check(model, randn(6, 2, 4, 4), names(model, nn.Conv2d, nn.Linear), names(model, nn.BatchNorm2d))


def test_a_resnet9() -> None:
    model = randomised(resnet9())
    check(model, randn(4, 2, 8, 8), names(model, nn.Conv2d, nn.Linear), names(model, nn.BatchNorm2d))


def test_a_network_of_grouped_convolutions() -> None:
    check(randomised(Mobile()), randn(6, 4, 4, 4), {"depthwise", "pointwise", "gate", "last"}, {"norm"})


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer(norm_first: bool) -> None:
    model = randomised(SmallTransformer(norm_first))
    gradients = check(model, tokens(5, 5, entries=7), names(model, nn.Linear), names(model, nn.LayerNorm, nn.Embedding))
    left = {name for name in gradients.rest if "norm" not in name and "words" not in name}
    assert {name for name in left if "self_attn" not in name} == {"places"}  # attention's weights go by vmap as well


@pytest.mark.parametrize(
    ("chosen", "layers", "direct"),
    [
        (["last.weight"], {"last"}, set()),
        (["norm.weight", "depthwise.weight"], {"depthwise"}, {"norm"}),
        (["norm.bias", "gate.bias"], set(), set()),  # biases without their weights go by vmap
        (["norm.weight", "norm.bias", "pointwise.weight", "last.bias"], {"pointwise"}, {"norm"}),
    ],
)
def test_a_chosen_subset_of_parameters(chosen: list[str], layers: set[str], direct: set[str]) -> None:
    gradients = check(randomised(Mobile()), randn(6, 4, 4, 4), layers, direct, parameters=chosen)
    assert set(gradients.problem.parameters) == set(chosen)


def test_frozen_parameters() -> None:
    model = randomised(SmallTransformer())
    for name, parameter in model.named_parameters():
        if name.startswith(("words", "encoder.layers.0")) or name == "encoder.layers.1.norm1.bias":
            parameter.requires_grad_(False)
    check(
        model,
        tokens(5, 5, entries=7),
        {"encoder.layers.1.linear1", "encoder.layers.1.linear2", "last"},
        {"encoder.layers.1.norm1", "encoder.layers.1.norm2"},
    )
