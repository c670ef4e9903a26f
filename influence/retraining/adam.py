"""Adam from a checkpoint, many models side by side: the same steps on the same batches, each without one example.

What an example does to a network that is not at a minimum is the difference between two models that go on from one
checkpoint, one without the example and one with it, the control. The batches and the state of the optimiser are the
same for both, and so is all that the network would have done anyway, its drift: in the difference it cancels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

from influence.problem import Problem, TensorData
from influence.vectors import Vectors, add_scaled, block, count, select, zeros_like

NOBODY = -1  # in place of a position: nothing is left out
MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8  # as published


@dataclass(frozen=True)
class AdamState:
    """Where K models stand that are trained by Adam (Kingma & Ba 2015, algorithm 1).

    All is in float64 whatever the models compute in: at small rates a step is below the rounding of a float32.

    Attributes:
        parameters: {name: [K, *shape]}.
        mean: running mean of their gradients, {name: [K, *shape]}.
        square: running mean of the squares of these, {name: [K, *shape]}.
        steps: taken so far.
    """

    parameters: Vectors
    mean: Vectors
    square: Vectors
    steps: int

    @classmethod
    def start(cls, problem: Problem) -> "AdamState":
        """One model, at the parameters of the problem."""
        parameters = block({name: value.double() for name, value in problem.parameters.items()})
        return cls(parameters, zeros_like(parameters), zeros_like(parameters), 0)

    def repeated(self, copies: int) -> "AdamState":
        """Copies of the first model."""
        first = [0] * copies
        return AdamState(
            select(self.parameters, first), select(self.mean, first), select(self.square, first), self.steps
        )


def shuffled_batches(examples: int, size: int, steps: int, generator: torch.Generator) -> Tensor:
    """Positions of the examples in each batch, [steps, size], in a new order each time that all have had their turn.

    Examples left over at the end of an epoch sit it out.

    Raises:
        ValueError: a batch is empty or larger than the data.
    """
    if not 0 < size <= examples:
        raise ValueError(f"a batch of {size:,} cannot be drawn from {examples:,} examples")
    each = examples // size
    epochs = [torch.randperm(examples, generator=generator)[: each * size] for _ in range(-(-steps // each))]
    return torch.cat(epochs).view(-1, size)[:steps] if epochs else torch.empty(0, size, dtype=torch.int64)


def continue_adam(
    problem: Problem,
    data: TensorData,
    state: AdamState,
    batches: Tensor,
    rate: float,
    left_out: Tensor | None = None,
    together: int = 1,
) -> AdamState:
    """A step of Adam for each batch, for each of K models.

    Model k descends on 1 / (n - 1) sum_{j != i} loss_j + regularisation, i the example that it does without: in a
    batch that holds i, i counts nothing, and the others n / (n - 1) of what they count with all n.

    Args:
        problem: the model and its objective; its own parameters do not matter, only their dtype, that of the gradients.
        data: the n training examples.
        state: of the K models.
        batches: positions of examples, [steps, B].
        rate: the step size.
        left_out: position of the example that each model does without, [K], or `NOBODY`; None: nobody at all.
        together: models whose gradients are taken in one pass. On a CPU one at a time is fastest.

    Raises:
        ValueError: `left_out` is not one position a model, or no position of the data.
    """
    missing = torch.full((count(state.parameters),), NOBODY) if left_out is None else left_out
    _check(missing, count(state.parameters), len(data))
    scale = 1.0 + (missing != NOBODY).double().unsqueeze(1) / (len(data) - 1)
    theta, mean, square = state.parameters, state.mean, state.square
    for number, batch in enumerate(batches, start=state.steps + 1):
        weights = (scale * (batch != missing.unsqueeze(1)) / len(batch)).to(problem.device, problem.dtype)
        inputs, targets = (part[batch].to(problem.device) for part in (data.inputs, data.targets))
        slope = _gradients(problem, theta, inputs, targets, weights, together)
        mean = _mixed(mean, slope, MEAN_DECAY)
        square = _mixed(square, {name: value.square() for name, value in slope.items()}, SQUARE_DECAY)
        length, size = rate / (1 - MEAN_DECAY**number), (1 - SQUARE_DECAY**number) ** 0.5
        step = {name: value / (square[name].sqrt() / size + EPSILON) for name, value in mean.items()}
        theta = add_scaled(theta, -length, step)
    return AdamState(theta, mean, square, state.steps + len(batches))


def _gradients(
    problem: Problem, theta: Vectors, inputs: Tensor, targets: Tensor, weights: Tensor, together: int
) -> Vectors:
    """Gradient of each model's weighted sum of losses plus regularisation, {name: [K, *shape]}, in float64."""

    def loss(parameters: Vectors, weight: Tensor) -> Tensor:
        return (weight * problem.loss(parameters, inputs, targets)).sum()

    rounded = {name: value.to(problem.dtype) for name, value in theta.items()}
    found: Vectors = vmap(grad(loss), chunk_size=together)(rounded, weights)
    return add_scaled(problem.objective.regularisation_gradient(theta), 1.0, found)


def _mixed(old: Vectors, new: Vectors, decay: float) -> Vectors:
    return {name: decay * value + (1 - decay) * new[name] for name, value in old.items()}


def _check(missing: Tensor, models: int, examples: int) -> None:
    if missing.shape != (models,):
        raise ValueError(f"left_out holds one position for each of {models} models, not {list(missing.shape)}")
    outside = missing[(missing != NOBODY) & ((missing < 0) | (missing >= examples))]
    if len(outside):
        raise ValueError(f"there is no training example {int(outside[0])}: positions go from 0 to {examples - 1:,}")
