import torch
import torch.nn.functional as F
from torch import nn

from experiments.common.small_cnn import network, patches


def test_it_has_as_many_parameters_as_the_papers() -> None:
    assert sum(parameter.numel() for parameter in network().parameters()) == 2_616


def test_on_patches_it_is_the_network_of_convolutions() -> None:
    torch.manual_seed(0)
    model, images = network(), torch.rand(3, 784)
    values = images.view(3, 1, 28, 28)
    layers = [layer for layer in model if isinstance(layer, nn.Conv2d)]
    first = layers[0].weight.view(8, 1, 3, 3)
    values = F.conv2d(values, first, layers[0].bias).tanh()
    for layer, stride in zip(layers[1:], [2, 1, 2, 1, 1], strict=True):
        values = F.conv2d(values, layer.weight, layer.bias, stride).tanh()
    assert values.shape == (3, 10, 2, 2)
    expected = F.linear(values.mean(dim=(2, 3)), model[-1].weight, model[-1].bias)
    torch.testing.assert_close(model(patches(images)), expected)


def test_weights_are_drawn_within_two_deviations() -> None:
    torch.manual_seed(0)
    model = network()
    for layer, deviation in ((model[1], 2 / 3), (model[3], 2 / 72**0.5), (model[-1], 1 / 10**0.5)):
        weight = layer.weight.detach()
        assert float(weight.abs().max()) <= 2 * deviation
        assert 0.7 < float(weight.std()) / deviation < 1.05, "cut off, a normal deviates by .88 of its own"
        assert not layer.bias.any()
