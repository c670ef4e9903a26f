"""The Hessian of the regularisation: weight_decay on the decayed parameters, zero elsewhere."""

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
