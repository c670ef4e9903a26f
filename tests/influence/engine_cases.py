"""Engines of small networks, and what their answers are made of, with every matrix written out in float64."""

import torch
from oracle import (
    decay_diagonal,
    gauss_newton,
    loss_gradients,
    make_problem,
    output_hessians,
    output_jacobians,
    unflatten,
)
from torch import Tensor

from influence import Influence, Logit, Objective, SoftmaxCrossEntropy
from influence.measurement import Measure, Measurement
from influence.problem import Problem, TensorData

NAMES = ["logistic", "mlp without bias", "convolutions"]
DAMPING = 0.1
SOFTMAX = SoftmaxCrossEntropy()
MEASUREMENTS: list[tuple[Measurement, Measure]] = [
    ("loss", SOFTMAX.loss),
    ("margin", SOFTMAX.margin),
    ("log-odds", SOFTMAX.log_odds),
    (Logit(1), lambda outputs, targets: outputs[..., 1]),
    (lambda outputs, targets: outputs.square().sum(dim=-1), lambda outputs, targets: outputs.square().sum(dim=-1)),
]


def engine_of(name: str, **options: object) -> tuple[Influence, Problem, TensorData]:
    problem, data = make_problem(name)
    options = {"damping": DAMPING, "tolerance": 1e-10, **options}
    engine = Influence(problem.model, problem.objective, (data.inputs, data.targets), **options)  # type: ignore[arg-type]
    return engine, problem, data


def shares(problem: Problem, data: TensorData) -> Tensor:
    theta = torch.cat([value.flatten() for value in problem.parameters.values()])
    return loss_gradients(problem, data) + decay_diagonal(problem) * theta


def dense(problem: Problem, data: TensorData) -> Tensor:
    identity = torch.eye(problem.parameter_count, dtype=torch.float64)
    return gauss_newton(problem, data) + decay_diagonal(problem).diag() + DAMPING * identity


class Measured(Objective):
    """Whose loss is what is measured: its gradients are those of a query."""

    def __init__(self, measure: Measure) -> None:
        super().__init__()
        self.measure = measure

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.measure(outputs, targets)


def queries_of(data: TensorData) -> TensorData:
    return TensorData(data.inputs[:3] + 0.1, 2 - data.targets[:3])


def query_gradients(problem: Problem, queries: TensorData, measure: Measure = SOFTMAX.loss) -> Tensor:
    return loss_gradients(Problem(problem.model, Measured(measure)), queries)


def newton_steps(problem: Problem, data: TensorData, sets: list[list[int]]) -> Tensor:
    """Changes of the parameters when each set is left out, [K, P]."""
    jacobians, hessians = output_jacobians(problem, data), output_hessians(problem, data)
    each, decay = torch.einsum("ncp,ncd,ndq->npq", jacobians, hessians, jacobians), decay_diagonal(problem) + DAMPING
    own, steps = shares(problem, data), []
    for members in sets:
        left = each.sum(dim=0) - each[members].sum(dim=0) + (len(data) - len(members)) * decay.diag()
        steps.append(torch.linalg.solve(left, own[members].sum(dim=0)))
    return torch.stack(steps)


def changed(problem: Problem, queries: TensorData, steps: Tensor, measure: Measure) -> Tensor:
    """What is measured of the queries after each step of the parameters, less what is before, [Q, K]."""
    before = measure(problem.outputs(problem.parameters, queries.inputs), queries.targets)
    columns = []
    for step in steps:
        change = unflatten(step.unsqueeze(0), problem.parameters)
        moved = {name: value + change[name][0] for name, value in problem.parameters.items()}
        columns.append(measure(problem.outputs(moved, queries.inputs), queries.targets) - before)
    return torch.stack(columns, dim=1)
