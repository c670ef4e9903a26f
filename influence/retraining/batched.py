"""Many small models trained at once, each on its own examples: what leaving out large parts of a training set does.

The parameters of K models are stacked, and a step of all of them is one pass of `torch.func.vmap`, so that small models
fill the processor. Each reads its own examples alone, in the order in which it would read them if it were trained by
itself: what it becomes differs from that by rounding only.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from influence.memory import activations_per_example
from influence.objective import Objective
from influence.problem import Problem
from influence.retraining.descent import Positions, Read, Recipe, descend
from influence.vectors import Vectors, count

ON_CPU, ON_GPU = 16, 512  # models at once beyond which none gained speed
COPIES = 6  # of a batch's activations at once, per model
STATES = 5  # parameters, gradient, the optimizer's state
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        examples: positions of the examples that it sees, [S], each once.
        seed: of where it starts and of its order.
    """

    examples: Positions
    seed: int


class Retraining:
    """Trains models by one recipe on parts of one training set.

    A model is left to a loop, one training after the other, where `vmap` cannot do it or does not pay: where it has
    buffers, parameters that are shared or not trained, or stochastic layers, where its gradients come out different,
    and where it convolves on a CPU.

    Args:
        start: a new model of a seed, on the device where it is to be trained.
        objective: what is minimised.
        recipe: how.
        read: reads examples, onto that device.
        memory_limit: bytes for intermediate results.

    Attributes:
        together: models trained at once; 1 where they are trained in a loop. The bits of the results depend on it.
    """

    def __init__(
        self,
        start: Callable[[int], nn.Module],
        objective: Objective,
        recipe: Recipe,
        read: Read,
        memory_limit: int = 2**30,
    ) -> None:
        self.start, self.objective, self.recipe, self.read = start, objective, recipe, read
        self.together = self._models_at_once(memory_limit)

    def chunks(self, runs: Sequence[Run]) -> list[list[Run]]:
        """The runs in order, cut where the models change that are trained at once: next to each other, of one size."""
        found: list[list[Run]] = []
        for run in runs:
            fits = found and len(found[-1]) < self.together and len(found[-1][0].examples) == len(run.examples)
            if fits:
                found[-1].append(run)
            else:
                found.append([run])
        return found

    def train(
        self, runs: Sequence[Run], epochs: int, on_epoch: Callable[[int], object] = lambda epoch: None
    ) -> Vectors:
        """Train one chunk, and return the states of its K models, {name: [K, *shape]}: parameters and buffers.

        Args:
            runs: of as many examples each, `together` of them at most.
            epochs: that are trained, of those that the recipe plans.
            on_epoch: called after every epoch of the chunk, in a loop of every model, with its number.

        Raises:
            ValueError: the runs are not one chunk, one names an example twice, or more epochs are asked for than the
                recipe plans.
        """
        if not runs or len(self.chunks(runs)) != 1:
            raise ValueError(f"{len(runs)} runs are not one chunk of runs of one size, {self.together} at most")
        if any(len(np.unique(run.examples)) < len(run.examples) for run in runs):
            raise ValueError("a run names one of its examples twice")
        if epochs > self.recipe.epochs:
            raise ValueError(f"the recipe plans {self.recipe.epochs} epochs, not {epochs}")
        if self.together == 1:
            return self._alone(runs[0], epochs, on_epoch)
        return self._at_once(runs, epochs, on_epoch)

    def _alone(self, run: Run, epochs: int, on_epoch: Callable[[int], object]) -> Vectors:
        model = self.start(run.seed)
        optimizer = self.recipe.optimizer([value for value in model.parameters() if value.requires_grad])

        def read(positions: Positions) -> tuple[Tensor, Tensor]:
            return self.read(run.examples[positions])

        for epoch in range(1, epochs + 1):
            for _ in descend(model, self.objective, optimizer, self.recipe, read, len(run.examples), run.seed, epoch):
                pass
            on_epoch(epoch)
        return {name: value.detach().unsqueeze(0) for name, value in model.state_dict().items()}

    def _at_once(self, runs: Sequence[Run], epochs: int, on_epoch: Callable[[int], object]) -> Vectors:
        models = [self.start(run.seed) for run in runs]
        problem = _training_problem(models[0], self.objective)
        starts = [dict(model.named_parameters()) for model in models]
        parameters = {name: torch.stack([start[name].detach() for start in starts]) for name in problem.parameters}
        optimizer = self.recipe.optimizer(list(parameters.values()))
        step_gradients = _stacked_gradients(problem)
        members, size = np.stack([run.examples for run in runs]), len(runs[0].examples)
        for epoch in range(1, epochs + 1):
            orders = [self.recipe.batches(size, run.seed, epoch) for run in runs]
            for step, positions in enumerate(zip(*orders, strict=True)):
                self.recipe.set_rate(optimizer, epoch, step, len(orders[0]))
                chosen = np.take_along_axis(members, np.stack(positions), axis=1)
                inputs, targets = self.read(chosen.reshape(-1))
                shape = chosen.shape
                gradients = step_gradients(parameters, inputs.unflatten(0, shape), targets.unflatten(0, shape))
                for name, value in parameters.items():
                    value.grad = gradients[name]
                optimizer.step()
            on_epoch(epoch)
        return parameters

    def _models_at_once(self, memory_limit: int) -> int:
        model = self.start(0)
        inputs, targets = self.read(np.arange(2))
        if not _can_be_stacked(model, self.objective, inputs, targets):
            return 1
        problem = Problem(model, self.objective)
        numbers = COPIES * self.recipe.batch_size * activations_per_example(problem, inputs)
        width = (numbers + STATES * problem.parameter_count) * torch.finfo(problem.dtype).bits // 8
        return max(1, min(ON_GPU if inputs.is_cuda else ON_CPU, memory_limit // width))


def stacked_outputs(model: nn.Module, objective: Objective, states: Vectors, inputs: Tensor) -> Tensor:
    """Outputs of K models, in evaluation mode, for a batch of inputs, [K, B, C].

    Args:
        model: of their kind; its own parameters are overwritten.
        objective: any.
        states: parameters and buffers, {name: [K, *shape]}.
        inputs: [B, ...].
    """
    found = []
    for index in range(count(states)):
        model.load_state_dict({name: value[index] for name, value in states.items()})
        problem = Problem(model, objective)
        with torch.no_grad():
            found.append(problem.outputs(problem.parameters, inputs))
    return torch.stack(found)


def _training_problem(model: nn.Module, objective: Objective) -> Problem:
    """The model as a function of its parameters, in training mode."""
    problem = Problem(model, objective)
    problem.model.train()
    return problem


def _stacked_gradients(problem: Problem) -> Callable[[Vectors, Tensor, Tensor], Vectors]:
    """Gradients of K objectives, each at its own parameters and over its own batch."""
    objective = problem.objective

    def loss(parameters: Vectors, inputs: Tensor, targets: Tensor) -> Tensor:
        return problem.loss(parameters, inputs, targets).mean()

    differentiate = vmap(grad(loss))

    def gradients(parameters: Vectors, inputs: Tensor, targets: Tensor) -> Vectors:
        found: Vectors = differentiate(parameters, inputs, targets)
        for name, value in found.items():
            if objective.decays(name):
                value.add_(parameters[name], alpha=objective.weight_decay)
        return found

    return gradients


def _can_be_stacked(model: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor) -> bool:
    """Whether a step of several copies at once gives the gradients of each alone, and may be faster."""
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    if any(True for _ in model.buffers()) or list(model.state_dict()) != names:
        return False  # there is more to a model's state than one tensor for each trained parameter
    if not inputs.is_cuda and any(isinstance(module, CONVOLUTIONS) for module in model.modules()):
        return False  # the stack becomes a convolution in groups, which is slower there than one after the other
    alone = copy.deepcopy(model).train()
    parameters = dict(alone.named_parameters())
    problem = _training_problem(copy.deepcopy(model), objective)
    try:
        total = objective.loss(alone(inputs), targets).mean() + objective.regularisation(parameters)
        expected = dict(zip(parameters, torch.autograd.grad(total, list(parameters.values())), strict=True))
        found = _stacked_gradients(problem)(
            {name: torch.stack([value, value]) for name, value in problem.parameters.items()},
            torch.stack([inputs, inputs]),
            torch.stack([targets, targets]),
        )
    except (RuntimeError, ValueError, TypeError):  # vmap's own: random numbers, control flow, operators without a rule
        return False
    return all(torch.allclose(found[name][1], value, rtol=1e-3, atol=1e-6) for name, value in expected.items())
