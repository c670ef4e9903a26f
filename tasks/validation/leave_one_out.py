"""Single examples left out of a model linear in its parameters, which is retrained to its minimum without each."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from influence.curvature import Regularisation, choose_gauss_newton
from influence.fidelity import (
    difference,
    estimate,
    pooled_correlation,
    pooled_draws,
    resample,
    slope,
)
from influence.inverse import Direct
from influence.layers import PerExampleGradients
from influence.problem import Problem
from influence.retraining import minimise, retrain_without
from tasks.dataset import Split
from tasks.validation.methods import Methods
from tasks.validation.names import INFLUENCE

LARGEST = 2000  # parameters: the dense Hessian of more takes longer than a validation may
TOLERANCE = 1e-8  # norm of the gradient at a minimum
STEADY = 1e-8  # damping of the Newton steps: softmax does not notice a bias added to all classes


@dataclass(frozen=True)
class Doubled:
    """A split in float64, as `influence.problem.Data`."""

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in self.split.batches(size, device):
            yield inputs.double(), labels


@dataclass(frozen=True)
class LeftOut:
    """What leaving out does.

    Attributes:
        predicted: rise of each query's loss by method, [Q, K].
        actual: rise of each query's loss from the minimum with the example to that without it, nats, [Q, K].
        top: whether the example is there for its influence, or was drawn at random, bool [K].
    """

    predicted: dict[str, Tensor]
    actual: Tensor
    top: Tensor


def is_small_and_linear(problem: Problem, inputs: Tensor) -> bool:
    """Whether the outputs for these inputs are linear in the parameters, of which there are few enough."""
    if problem.parameter_count > LARGEST:
        return False
    generator = torch.Generator().manual_seed(0)

    def drawn() -> dict[str, Tensor]:
        return {
            name: torch.randn(value.shape, generator=generator).to(value) for name, value in problem.parameters.items()
        }

    first, second = drawn(), drawn()
    together = {name: value + second[name] for name, value in first.items()}
    with torch.no_grad():
        one, other, both = (problem.outputs(parameters, inputs) for parameters in (first, second, together))
    return torch.allclose(one + other, both, rtol=1e-3, atol=1e-3 * float(both.abs().max()))


def leave_out(methods: Methods, examples: int, seed: int, memory: int) -> LeftOut:
    """Leave out the examples of largest influence, half of all, and others at random.

    Raises:
        NotConvergedError, NotPositiveDefiniteError: there is no minimum, as without weight decay.
    """
    problem = methods.gradients.problem
    strength, columns = [], []
    for _, scores in methods.batches():
        strength.append(scores[INFLUENCE].abs().max(dim=0).values)
        columns.append({name: found.double().cpu() for name, found in scores.items()})
    order = torch.argsort(torch.cat(strength).cpu(), descending=True, stable=True).numpy()
    top, rest = order[: examples // 2], order[examples // 2 :]
    chosen = np.concatenate([top, np.random.default_rng(seed).permutation(rest)[: examples - len(top)]])
    predicted = {name: torch.cat([part[name] for part in columns], dim=1)[:, chosen] for name in columns[0]}

    data = Doubled(methods.train)
    exact = minimise(copy.deepcopy(problem.model).double(), problem.objective, data, TOLERANCE, damping=STEADY)
    gradients = PerExampleGradients(exact, methods.inputs[:2].double())
    curvature = choose_gauss_newton(gradients, data, memory) + Regularisation(exact)
    solve = Direct(curvature, exact.parameters, STEADY)
    minima = retrain_without(exact, data, [[int(index)] for index in chosen], solve, TOLERANCE, memory_limit=memory)
    before = exact.loss(exact.parameters, methods.inputs.double(), methods.targets)
    after = [
        exact.loss(
            {name: value[index] for name, value in minima.parameters.items()}, methods.inputs.double(), methods.targets
        )
        for index in range(len(chosen))
    ]
    actual = torch.stack([found - before for found in after], dim=1).cpu()
    return LeftOut(predicted, actual, torch.arange(len(chosen)) < len(top))


def measure(left_out: LeftOut) -> dict[str, object]:
    """Correlation of every method, how far that of the scores exceeds each other one, and the scores' size."""
    actual = left_out.actual
    draws = resample(actual.shape[1], actual.shape[0])
    scores = {
        name: (pooled_correlation(found, actual), pooled_draws(found, actual, draws))
        for name, found in left_out.predicted.items()
    }
    own = left_out.predicted[INFLUENCE]
    return {
        "scores": {name: estimate(*score).rounded() for name, score in scores.items()},
        "above": {
            name: difference(scores[INFLUENCE], score).rounded() for name, score in scores.items() if name != INFLUENCE
        },
        "among_top": round(pooled_correlation(own[:, left_out.top], actual[:, left_out.top]), 4),
        "among_random": round(pooled_correlation(own[:, ~left_out.top], actual[:, ~left_out.top]), 4),
        "actual_over_predicted": round(slope(own, actual), 4),
    }
