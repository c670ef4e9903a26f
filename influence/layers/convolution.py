"""One- and two-dimensional convolutions of every stride, padding, dilation and grouping.

Every output pixel of a group sees one patch of the group's input channels. A one-dimensional convolution is a
two-dimensional one over images of height 1.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from influence.layers.rule import Rule, register

Convolution = nn.Conv1d | nn.Conv2d


def _activations(module: nn.Module, inputs: Tensor) -> Tensor:
    """Patches [B, groups * T, in / groups * kernel size], in the order of the weight's own axes."""
    assert isinstance(module, Convolution)
    padded = F.pad(inputs, _padding(module), "constant" if module.padding_mode == "zeros" else module.padding_mode)
    images = padded if padded.dim() == 4 else padded.unsqueeze(2)
    patches = F.unfold(images, _pair(module.kernel_size), _pair(module.dilation), stride=_pair(module.stride))
    return patches.unflatten(1, (module.groups, -1)).transpose(2, 3).flatten(1, 2)


def _gradients(module: nn.Module, gradients: Tensor) -> Tensor:
    """[L, B, out, height, width] or [L, B, out, length] -> [L, B, T, out]."""
    return gradients.flatten(3).transpose(2, 3)


def _groups(module: nn.Module) -> int:
    assert isinstance(module, Convolution)
    return module.groups


def _padding(module: Convolution) -> list[int]:
    """Numbers of values added before and after each axis, the last axis first, as `F.pad` takes them."""
    pairs: list[int] = []
    for axis in reversed(range(len(module.kernel_size))):
        if module.padding == "same":
            added = module.dilation[axis] * (module.kernel_size[axis] - 1)
            pairs += [added // 2, added - added // 2]  # the odd one goes behind
        elif module.padding == "valid":
            pairs += [0, 0]
        else:
            pairs += [int(module.padding[axis])] * 2
    return pairs


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


register(nn.Conv1d, Rule(input_dims=3, activations=_activations, gradients=_gradients, groups=_groups))
register(nn.Conv2d, Rule(input_dims=4, activations=_activations, gradients=_gradients, groups=_groups))
