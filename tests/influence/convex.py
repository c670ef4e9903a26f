"""Small convex models trained to their minimum: what leaving out is checked on."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from influence.curvature import FactoredGaussNewton, Regularisation
from influence.inverse import Direct
from influence.layers import PerExampleGradients
from influence.objective import BinaryCrossEntropy, Objective, SoftmaxCrossEntropy, SquaredError
from influence.problem import Problem, TensorData
from influence.vectors import Vectors, add_scaled, block

DECAY, WIDTH, QUERIES = 0.05, 4, 6
KINDS = ["least squares", "several outputs", "logistic", "softmax"]


@dataclass(frozen=True)
class Trained:
    problem: Problem
    data: TensorData
    queries: TensorData
    gradients: PerExampleGradients
    curvature: FactoredGaussNewton
    solve: Direct

    def change_of(self, parameters: Vectors) -> Vectors:
        """Parameters [K, *shape] less the trained ones."""
        return add_scaled(parameters, -1.0, block(self.problem.parameters))


def trained(kind: str, examples: int, damping: float = 0.0, seed: int = 2) -> Trained:
    """A linear model with biases that are not regularised; for softmax none, since it is singular along them."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples + QUERIES, WIDTH, generator=generator, dtype=torch.float64)
    outputs = inputs @ torch.randn(WIDTH, 3, generator=generator, dtype=torch.float64)
    outputs = outputs + torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    objective, targets, width = objective_of(kind, outputs)
    data, queries = (TensorData(inputs[part], targets[part]) for part in (slice(examples), slice(examples, None)))
    problem = minimised(objective, data, width, bias=kind != "softmax")
    gradients = PerExampleGradients(problem, inputs[:2])
    curvature = FactoredGaussNewton(gradients, data)
    solve = Direct(curvature + Regularisation(problem), problem.parameters, damping)
    return Trained(problem, data, queries, gradients, curvature, solve)


def objective_of(kind: str, outputs: Tensor) -> tuple[Objective, Tensor, int]:
    """The objective, targets made from noisy outputs [N, 3], and how many outputs its model has."""
    match kind:
        case "least squares":
            return SquaredError(DECAY), outputs[:, 0], 1
        case "several outputs":
            return SquaredError(DECAY), outputs, 3
        case "logistic":
            return BinaryCrossEntropy(DECAY), (outputs[:, 0] > 0).long(), 1
        case _:
            return SoftmaxCrossEntropy(DECAY), outputs.argmax(dim=1), 3


def minimised(objective: Objective, data: TensorData, outputs: int, bias: bool) -> Problem:
    """The minimum of the objective by Newton's method on the dense Hessian, from zero."""
    shapes = {"weight": (outputs, data.inputs.shape[1])} | ({"bias": (outputs,)} if bias else {})
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]

    def unflatten(flat: Tensor) -> dict[str, Tensor]:
        parts = zip(shapes.items(), flat.split(sizes), strict=True)
        return {name: part.view(shape) for (name, shape), part in parts}

    def total(flat: Tensor) -> Tensor:
        named = unflatten(flat)
        loss = objective.loss(nn.functional.linear(data.inputs, **named), data.targets)  # type: ignore[arg-type]
        return loss.mean() + objective.regularisation(named)

    theta = torch.zeros(sum(sizes), dtype=torch.float64)
    for _ in range(20):
        theta = theta - torch.linalg.solve(torch.func.hessian(total)(theta), torch.func.grad(total)(theta))
    model = nn.Linear(data.inputs.shape[1], outputs, bias=bias).double()
    model.load_state_dict(unflatten(theta))
    assert float(torch.func.grad(total)(theta).norm()) < 1e-13
    return Problem(model, objective)


def correlation(found: Tensor, truth: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([found.flatten(), truth.flatten()]))[0, 1])
