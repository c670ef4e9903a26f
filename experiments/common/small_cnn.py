"""The small convolutional network of Koh & Liang 2017, section 4.2, and its inputs."""

import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 28  # pixels
KERNEL, CHANNELS, LAST = 3, 8, 10
STRIDES = [2, 1, 2, 1]  # of the convolutions between the first and the last


class ChannelsFirst(nn.Module):
    """[B, height, width, C] as [B, C, height, width], without moving a number."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.permute(0, 3, 1, 2)


class SpatialMean(nn.Module):
    """[B, C, height, width] to [B, C]."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean(dim=(2, 3))


def patches(images: Tensor) -> Tensor:
    """The 3 x 3 pixels around each position of images [N, 784], [N, 26, 26, 9].

    They are the same at every step of training: cut out beforehand, they leave to the network's first convolution a
    product with a matrix, and make its steps about a third cheaper.
    """
    side = SIDE - KERNEL + 1
    return F.unfold(images.view(-1, 1, SIDE, SIDE), KERNEL).mT.unflatten(1, (side, side)).contiguous()


def network(classes: int = 10) -> nn.Module:
    """3 x 3 x 8 stride 1, 3 x 3 x 8 stride 2, twice; 3 x 3 x 8; 1 x 1 x 10; their mean over positions; a linear layer.

    No padding; tanh after each convolution; 2,616 parameters. Inputs are `patches`. Weights are drawn from a normal
    distribution of deviation 2 / sqrt(fan in), that of the linear layer 1 / sqrt(fan in), cut off at two deviations;
    biases are zero.
    """
    layers: list[nn.Module] = [ChannelsFirst(), nn.Conv2d(KERNEL**2, CHANNELS, 1), nn.Tanh()]
    for stride in STRIDES:
        layers += [nn.Conv2d(CHANNELS, CHANNELS, KERNEL, stride), nn.Tanh()]
    layers += [nn.Conv2d(CHANNELS, LAST, 1), nn.Tanh(), SpatialMean(), nn.Linear(LAST, classes)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            deviation = (2.0 if isinstance(layer, nn.Conv2d) else 1.0) / fan_in**0.5
            nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
