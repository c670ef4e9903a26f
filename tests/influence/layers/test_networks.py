"""Whole networks of the kinds people train, with every layer exact at once."""

import pytest
import torch
import torch.nn.functional as F
from layer_checks import check, randn, randomised, tokens
from torch import Tensor, nn


def unit(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    """Convolution, batch norm, ReLU, and perhaps a pool."""
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


class Residual(nn.Module):
    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = inputs + self.body(inputs)
        return output


def residual_network() -> nn.Module:
    block = Residual(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1))
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), block, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)
    )


def resnet9() -> nn.Module:
    return nn.Sequential(
        unit(2, 2),
        unit(2, 3, pool=True),
        Residual(unit(3, 3), unit(3, 3)),
        unit(3, 3, pool=True),
        unit(3, 4, pool=True),
        Residual(unit(4, 4), unit(4, 4)),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


class SmallTransformer(nn.Module):
    def __init__(self, norm_first: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4, padding_idx=0)
        self.places = nn.Parameter(torch.zeros(5, 4))
        layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.1, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.encoder(self.words(inputs) + self.places)
        output: Tensor = self.last(hidden.mean(dim=1))
        return output


class Mobile(nn.Module):
    """A depthwise convolution, a pointwise one, and a gate over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.GroupNorm(2, 4)
        self.pointwise, self.gate, self.last = nn.Conv2d(4, 4, 1), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.pointwise(F.silu(self.norm(self.depthwise(inputs))))
        gate = torch.sigmoid(self.gate(hidden.mean(dim=(2, 3))))
        output: Tensor = self.last((hidden * gate[:, :, None, None]).mean(dim=(2, 3)))
        return output


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
