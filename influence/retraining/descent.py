"""One epoch of stochastic gradient steps: the same for the model that is explained and for those trained again."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from influence.objective import Objective

Positions = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Read = Callable[[Positions], tuple[Tensor, Tensor]]  # positions [B] -> inputs [B, ...] and targets [B, ...]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: all but the data and where it starts.

    Nothing is carried from one epoch to the next but the parameters and the optimizer's state: the order of an epoch
    comes from the seed and its number, the learning rate from the number of the step.

    Attributes:
        optimizer: of these tensors, elementwise, such as SGD or Adam. Weight decay is in the objective, not here.
        learning_rate: of a step, counted from 0 over all epochs, and the number of all steps.
        epochs: that the learning rates are planned for.
        batch_size: examples a step, at most.
        epoch_seed: seed of an epoch's random numbers, from that of the training and the number of the epoch.
    """

    optimizer: Callable[[Sequence[Tensor]], torch.optim.Optimizer]
    learning_rate: Callable[[int, int], float]
    epochs: int
    batch_size: int
    epoch_seed: Callable[[int, int], int]

    def batches(self, examples: int, seed: int, epoch: int) -> list[Positions]:
        """Positions of the examples of every step of an epoch, counted from 1.

        Their numbers differ by one at most: a last batch of one example would weigh too much, and break BatchNorm.
        """
        order = np.random.default_rng(self.epoch_seed(seed, epoch)).permutation(examples)
        return np.array_split(order, math.ceil(examples / self.batch_size))

    def set_rate(self, optimizer: torch.optim.Optimizer, epoch: int, step: int, steps: int) -> None:
        """Set the learning rate of a step of an epoch that has so many steps."""
        rate = self.learning_rate((epoch - 1) * steps + step, self.epochs * steps)
        for group in optimizer.param_groups:
            group["lr"] = rate


def descend(
    model: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    read: Read,
    examples: int,
    seed: int,
    epoch: int,
) -> Iterator[int]:
    """Take the steps of an epoch, in training mode; yields the number of examples of each.

    Args:
        model: changed in place.
        objective: what is minimised: mean loss of the batch plus regularisation.
        optimizer: of the parameters that are trained.
        recipe: how.
        read: reads examples.
        examples: how many there are.
        seed: of the training; torch's own generator is seeded too, for stochastic layers.
        epoch: its number, from 1.
    """
    torch.manual_seed(recipe.epoch_seed(seed, epoch))
    batches = recipe.batches(examples, seed, epoch)
    parameters = dict(model.named_parameters())
    model.train()
    for step, positions in enumerate(batches):
        recipe.set_rate(optimizer, epoch, step, len(batches))
        inputs, targets = read(positions)
        loss = objective.loss(model(inputs), targets).mean()
        optimizer.zero_grad()
        (loss + objective.regularisation(parameters)).backward()
        optimizer.step()
        yield len(positions)
