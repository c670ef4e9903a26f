"""H^-1 g of a linear model by the two solvers of Koh & Liang 2017, section 3, each with its certificate."""

import torch
from torch import Tensor

from experiments.common.convex import Trained
from influence.curvature import LinearOperator, Regularisation
from influence.inverse import Solution, conjugate_gradient, published_lissa
from influence.problem import Problem
from influence.vectors import Vectors, add_scaled


class ExampleCurvature(LinearOperator):
    """Hessian of one example's share of the objective, of a linear model without bias."""

    def __init__(self, problem: Problem, inputs: Tensor, targets: Tensor) -> None:
        """Inputs are [1, in], targets [1]."""
        self.problem, self.inputs, self.targets = problem, inputs, targets
        self.outputs = inputs @ problem.parameters["weight"].T
        self.regularisation = Regularisation(problem)

    def multiply(self, vectors: Vectors) -> Vectors:
        tangents = (vectors["weight"] @ self.inputs[0]).unsqueeze(1)
        bent = self.problem.objective.output_hessian_product(self.outputs, self.targets, tangents)
        return add_scaled(self.regularisation @ vectors, 1.0, {"weight": bent[:, 0].unsqueeze(2) * self.inputs})


def by_lissa(trained: Trained, right: Vectors, scale: float, depth: int, repeats: int, seed: int) -> Solution:
    """LiSSA as published: one example drawn at random a step."""
    drawn = torch.randint(len(trained.data), (repeats * depth,), generator=torch.Generator().manual_seed(seed))

    def sample(step: int) -> ExampleCurvature:
        row = drawn[step : step + 1]
        return ExampleCurvature(trained.problem, trained.data.inputs[row], trained.data.targets[row])

    return published_lissa(trained.curvature, right, sample, scale, depth, repeats)


def conjugate_gradient_passes(trained: Trained, right: Vectors, tolerances: list[float]) -> list[int]:
    """Passes over the data after which plain conjugate gradients reach each relative residual."""
    solutions = [conjugate_gradient(trained.curvature, right, tolerance) for tolerance in tolerances]
    return [int(solution.certificate.iterations.max()) for solution in solutions]
