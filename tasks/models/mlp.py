"""A multi-layer perceptron."""

from collections import OrderedDict
from math import prod
from typing import Literal

from pydantic import PositiveInt, validate_call
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


@validate_call
def mlp(
    shape: tuple[int, ...],
    classes: int,
    hidden: tuple[PositiveInt, ...] = (128, 64),
    activation: Literal["relu", "gelu", "tanh"] = "relu",
) -> nn.Module:
    """Linear layers of the hidden widths, an activation after each, then one to the logits [B, classes]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    width = prod(shape)
    for number, next_width in enumerate(hidden, start=1):
        layers[f"hidden{number}"] = nn.Linear(width, next_width)
        layers[f"activation{number}"] = ACTIVATIONS[activation]()
        width = next_width
    layers["output"] = nn.Linear(width, classes)
    return nn.Sequential(layers)
