"""The Hessian of the regularisation: weight_decay on the decayed parameters, zero elsewhere."""

from collections.abc import Mapping

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.problem import Problem
from influence.vectors import Vectors


class Regularisation(LinearOperator):
    """weight_decay * I on the parameters that the objective decays."""

    def __init__(self, problem: Problem) -> None:
        self.objective = problem.objective

    def multiply(self, vectors: Vectors) -> Vectors:
        weight = self.objective.weight_decay
        return {name: (weight if self.objective.decays(name) else 0.0) * value for name, value in vectors.items()}

    def add_to(self, matrix: Tensor, like: Mapping[str, Tensor], scale: float = 1.0) -> int:
        ones = {name: torch.ones_like(value) for name, value in like.items()}
        matrix.diagonal().add_(torch.cat([value.flatten() for value in self.multiply(ones).values()]), alpha=scale)
        return 0
