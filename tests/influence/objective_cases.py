"""Every objective with data it is meant for, and two of one's own that say nothing but their loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from influence.objective import (
    BinaryCrossEntropy,
    Hinge,
    Objective,
    SmoothHinge,
    SoftmaxCrossEntropy,
    SquaredError,
)

DECAY = 0.03
EXAMPLES = 9


class Coupled(Objective):
    """sum cosh(f - y) + (sum f)^2 / 2: convex; its Hessian is full, and depends on the targets."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).cosh().sum(dim=-1) + 0.5 * outputs.sum(dim=-1).square()


class Saddle(Objective):
    """(f_0^2 - f_1^2) / 2: not convex."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (outputs[..., 0].square() - outputs[..., 1].square())


@dataclass(frozen=True)
class Case:
    objective: Objective
    classes: int
    targets: Tensor

    @property
    def outputs(self) -> Tensor:
        return 1.5 * draw(EXAMPLES, self.classes, seed=4)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cases() -> dict[str, Case]:
    labels = torch.arange(EXAMPLES) % 2
    return {
        "softmax": Case(SoftmaxCrossEntropy(DECAY), 3, torch.arange(EXAMPLES) % 3),
        "binary": Case(BinaryCrossEntropy(DECAY), 1, labels),
        "squared error": Case(SquaredError(DECAY), 3, draw(EXAMPLES, 3, seed=5)),
        "squared error of one output": Case(SquaredError(DECAY), 1, draw(EXAMPLES, seed=5)),
        "hinge": Case(Hinge(DECAY), 1, 2 * labels - 1),
        "smooth hinge": Case(SmoothHinge(0.5, DECAY), 1, 2.0 * labels - 1),
        "one's own": Case(Coupled(DECAY), 3, draw(EXAMPLES, 3, seed=5)),
    }
