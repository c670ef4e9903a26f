"""A linear model trained to its minimum, with what questions about its training set need."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from influence import Objective
from influence.curvature import LinearOperator, Regularisation, choose_gauss_newton
from influence.inverse import Direct
from influence.layers import PerExampleGradients, as_vectors
from influence.problem import Problem, TensorData
from influence.retraining import minimise, retrain_without
from influence.scores import NewtonStep, Pairwise, measurement_changes
from influence.vectors import Vectors, add_scaled, block, concatenate

ROWS = 8192  # examples scored at once


@dataclass(frozen=True)
class Trained:
    """A model at the minimum of its objective.

    Attributes:
        problem: the model and its objective.
        data: what it was trained on.
        gradients: reads per-example gradients.
        curvature: H, the Hessian of the full objective.
        solve: H^-1 of a block of vectors; factored when it is first needed.
    """

    problem: Problem
    data: TensorData
    gradients: PerExampleGradients
    curvature: LinearOperator
    solve: Direct

    @classmethod
    def of(cls, problem: Problem, data: TensorData) -> "Trained":
        """The model as it is."""
        gradients = PerExampleGradients(problem, data.inputs[:2])
        curvature = choose_gauss_newton(gradients, data) + Regularisation(problem)
        return cls(problem, data, gradients, curvature, Direct(curvature, problem.parameters))

    def slopes(self, examples: TensorData) -> Vectors:
        """Gradient of each example's loss, {name: [B, *shape]}."""
        return as_vectors(self.gradients, self.gradients.read(examples.inputs, targets=examples.targets))

    def influence(self, queries: TensorData) -> Tensor:
        """Predicted rise of each query's loss if a training example were left out, [Q, N], in nats."""
        return self.along(self.solve(self.slopes(queries)))

    def along(self, solutions: Vectors) -> Tensor:
        """Influence from s_q of every query, {name: [Q, *shape]}, wherever those come from; [Q, N]."""
        scores = Pairwise(self.gradients, solutions, len(self.data))
        return torch.cat([scores.batch(*batch) for batch in self.data.batches(ROWS)], dim=1)

    def leave_out(self, indices: Tensor, queries: TensorData) -> "LeftOut":
        """Leave each of K training examples out, one at a time, and measure each query's loss."""
        step = NewtonStep(self.gradients, self.solve, len(self.data))
        newton = concatenate(list(step.one_by_one(rows(self.data, indices))))
        start = time.monotonic()
        found = retrain_without(self.problem, self.data, indices.unsqueeze(1).tolist(), self.solve)
        seconds = time.monotonic() - start
        exact = add_scaled(found.parameters, -1.0, block(self.problem.parameters))
        return LeftOut(
            newton=measurement_changes(self.problem, newton, queries),
            exact=measurement_changes(self.problem, exact, queries),
            gradient_norm=found.gradient_norm,
            seconds=seconds,
        )


@dataclass(frozen=True)
class LeftOut:
    """Rise of each query's loss when each of K training examples is left out.

    Attributes:
        newton: predicted by one Newton step, [Q, K], in nats.
        exact: of the model trained again, [Q, K], in nats.
        gradient_norm: of the objective at each model trained again, [K].
        seconds: that training again took.
    """

    newton: Tensor
    exact: Tensor
    gradient_norm: Tensor
    seconds: float


def train(data: TensorData, objective: Objective, outputs: int = 1) -> Trained:
    """A linear model without bias, trained from zero to the minimum of the objective.

    Args:
        data: inputs [N, in] in float64, and targets.
        objective: convex and twice differentiable.
        outputs: of the model.
    """
    model = nn.Linear(data.inputs.shape[1], outputs, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    return Trained.of(minimise(model, objective, data), data)


def rows(data: TensorData, positions: Tensor) -> TensorData:
    """The examples at these positions."""
    return TensorData(data.inputs[positions], data.targets[positions])
