"""Whole networks of the kinds people train, small."""

import torch
import torch.nn.functional as F
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
