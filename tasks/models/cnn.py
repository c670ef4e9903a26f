"""A small convolutional network, cheap on a CPU."""

from collections import OrderedDict
from typing import Annotated

from annotated_types import MinLen
from pydantic import PositiveInt, validate_call
from torch import nn

from tasks.errors import UserError

SMALLEST = 8  # pixels
GRID = 8  # positions a side that reach the linear layer


@validate_call
def cnn(
    shape: tuple[int, ...],
    classes: int,
    channels: Annotated[tuple[PositiveInt, ...], MinLen(1)] = (12, 24),
) -> nn.Module:
    """Convolutions of stride 2, the first 5 x 5, the others 3 x 3, then a linear layer.

    Larger images are averaged to at most 8 x 8 positions before the linear layer, so that its width, and with
    it the cost of its curvature, does not grow with the image. On 28 x 28 there are 14,698 parameters.

    Args:
        shape: channels, height, width.
        classes: number of logits.
        channels: output channels of each convolution.

    Raises:
        UserError: the inputs are not images of at least 8 x 8.
    """
    if len(shape) != 3:
        raise UserError(f"`train.factory`: cnn is for images, but the inputs are {list(shape)}; use mlp or logistic")
    depth, height, width = shape
    if min(height, width) < SMALLEST:
        raise UserError(
            f"`train.factory`: cnn needs images of at least {SMALLEST} x {SMALLEST}, but these are "
            f"{height} x {width}; use mlp, or set `prepare.source.size`"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, next_depth in enumerate(channels, start=1):
        kernel = 5 if number == 1 else 3
        layers[f"conv{number}"] = nn.Conv2d(depth, next_depth, kernel, stride=2, padding=kernel // 2)
        layers[f"activation{number}"] = nn.ReLU()
        depth, height, width = next_depth, (height + 1) // 2, (width + 1) // 2
    window = (-(-height // GRID), -(-width // GRID))
    if window != (1, 1):
        layers["pool"] = nn.AvgPool2d(window)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(depth * (height // window[0]) * (width // window[1]), classes)
    return nn.Sequential(layers)
