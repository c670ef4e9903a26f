"""What is trained again: data, model and training of each protocol."""

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.mnist import read_mnist
from influence.measurement import Measurement
from influence.objective import Objective, SoftmaxCrossEntropy, SquaredError
from influence.problem import TensorData
from influence.retraining import Recipe
from influence.subset import take
from tasks.determinism import derived_seed
from tasks.models.cnn import cnn

DATA = Path(os.environ.get("INFLUENCE_DATA", "."))
WARM = 0.3  # share of the steps in which a one-cycle rate rises


@dataclass(frozen=True)
class Protocol:
    """One setting.

    Attributes:
        title: what the table says of it.
        load: training set and queries, the queries for tuning after those that are reported.
        build: a new model.
        objective: what is minimised.
        measurement: of a query.
        recipe: of the training.
        subsets: random halves of the training set.
        seeds: each is trained with.
        ensemble: models trained on everything, whose scores are averaged.
        reported: queries that the results are measured on.
        tuning: queries that dampings and stopping are chosen on.
        dampings: tried, in absolute units.
    """

    title: str
    load: Callable[[], tuple[TensorData, TensorData]]
    build: Callable[[], nn.Module]
    objective: Objective
    measurement: Measurement
    recipe: Recipe
    subsets: int = 100
    seeds: int = 2
    ensemble: int = 5
    reported: int = 100
    tuning: int = 24
    dampings: tuple[float, ...] = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

    @property
    def classifies(self) -> bool:
        return isinstance(self.objective, SoftmaxCrossEntropy)

    def start(self, seed: int) -> nn.Module:
        """The model where the training of this seed starts."""
        torch.manual_seed(derived_seed(seed))
        return self.build()


def one_cycle(peak: float, step: int, steps: int) -> float:
    """Cosines from peak / 25 up to the peak and down to peak / 250,000 (Smith & Topin 2019)."""
    warm = WARM * steps
    low, high, part = (1 / 25, 1.0, step / warm) if step < warm else (1 / 250_000, 1.0, (steps - step) / (steps - warm))
    return peak * (low + (high - low) * 0.5 * (1 - math.cos(math.pi * part)))


def sgd(tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(tensors, 1.0, momentum=0.9)


def perceptron(widths: Sequence[int], dropout: float = 0.0) -> nn.Module:
    """Linear layers with ReLU between, and dropout after each ReLU where asked for."""
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layers += [nn.Linear(width, following), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers[: -2 if dropout else -1])


def convolutional() -> nn.Module:
    """The pipeline's small network for pictures of 28 x 28, which come as rows of 784."""
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), cnn((1, 28, 28), 10))


def images(folder: str, examples: int, queries: int) -> tuple[TensorData, TensorData]:
    """The first so many training and test images."""
    train, test = read_mnist(DATA / folder)
    return take(train, range(examples)), take(test, range(queries))


def concrete(queries: int) -> tuple[TensorData, TensorData]:
    """Strength of 1,030 mixes of concrete (Yeh 1998), standardised by the training set, in a random order."""
    values = np.loadtxt(DATA / "concrete/concrete.data.gz")
    values = np.random.default_rng(0).permutation(values)
    count = len(values) - queries
    scaled = torch.from_numpy((values - values[:count].mean(axis=0)) / values[:count].std(axis=0)).float()
    data = TensorData(scaled[:, :-1], scaled[:, -1])
    return take(data, range(count)), take(data, range(count, len(values)))


def _recipe(rate: float, batch: int, epochs: int) -> Recipe:
    return Recipe(sgd, partial(one_cycle, rate), epochs, batch, derived_seed)


PROTOCOLS = {
    "a": Protocol(
        "MNIST, 10,000 images, MLP 784-256-128-10, 15 epochs",
        partial(images, "mnist", 10_000, 224),
        partial(perceptron, (784, 256, 128, 10)),
        SoftmaxCrossEntropy(1e-3),
        "margin",
        _recipe(0.03, 64, 15),
        ensemble=10,
        reported=200,
    ),
    "b-softmax": Protocol(
        "MNIST, 5,000 images, softmax regression, 50 epochs",
        partial(images, "mnist", 5_000, 524),
        partial(perceptron, (784, 10)),
        SoftmaxCrossEntropy(1e-3),
        "margin",
        _recipe(0.03, 64, 50),
        reported=500,
    ),
    "b": Protocol(
        "MNIST, 5,000 images, MLP 784-128-64-10 with dropout .1, 50 epochs",
        partial(images, "mnist", 5_000, 524),
        partial(perceptron, (784, 128, 64, 10), dropout=0.1),
        SoftmaxCrossEntropy(1e-3),
        "margin",
        _recipe(0.03, 64, 50),
        subsets=40,
        reported=500,
    ),
    "c": Protocol(
        "Fashion-MNIST, 6,144 images, MLP 784-512-256-128-10, 20 epochs",
        partial(images, "fashion_mnist", 6_144, 124),
        partial(perceptron, (784, 512, 256, 128, 10)),
        SoftmaxCrossEntropy(1e-3),
        "margin",
        _recipe(0.03, 64, 20),
        subsets=32,
    ),
    "d": Protocol(
        "Concrete, 906 mixes, MLP 8-128-128-128-1, 20 epochs",
        partial(concrete, 124),
        partial(perceptron, (8, 128, 128, 128, 1)),
        SquaredError(1e-5),
        "loss",
        _recipe(0.03, 32, 20),
    ),
    "cnn": Protocol(
        "Fashion-MNIST, 4,096 images, CNN of two convolutions and a linear layer, 12 epochs",
        partial(images, "fashion_mnist", 4_096, 124),
        convolutional,
        SoftmaxCrossEntropy(1e-3),
        "margin",
        _recipe(0.05, 64, 12),
        subsets=40,
    ),
}
