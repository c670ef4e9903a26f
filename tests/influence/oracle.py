"""Dense float64 oracles, by torch.func alone: what every operator and score is checked against."""

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.vectors import Vectors, rows

DECAY = 0.03


def networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Small models in float64 that meet every kind of layer, and the shape of one of their inputs."""
    torch.manual_seed(3)
    tied = nn.Linear(4, 4)
    models: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "logistic": (nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), (6,)),
        "mlp without bias": (nn.Sequential(nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)), (5,)),
        "convolutions": (
            nn.Sequential(
                nn.Conv2d(2, 3, 3, stride=2, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(3, 4, (2, 1), dilation=(2, 1), bias=False),
                nn.Tanh(),
                nn.Flatten(),
                nn.Linear(24, 3),
            ),
            (2, 7, 5),
        ),
        "grouped convolution and norm": (
            nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)),
            (2, 4, 5),
        ),
        "batch norm": (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)), (5,)),
        "layer norm": (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)), (5,)),
        "sequence": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(20, 3)), (5, 3)),
        "shared module": (nn.Sequential(nn.Linear(5, 4), tied, nn.Tanh(), tied, nn.Linear(4, 3)), (5,)),
        "shared weight": (_SharedWeight(), (4,)),
        "folded batch": (_FoldedBatch(), (3, 4)),
        "attention": (_Attention(), (3, 4)),
        "learned scale": (_LearnedScale(), (4,)),
    }
    return {name: (model.double(), shape) for name, (model, shape) in models.items()}


class _SharedWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.last(torch.tanh(self.second(torch.tanh(self.first(inputs)))))
        return output


class _FoldedBatch(nn.Module):
    """Calls a layer with batch and positions in one axis, where examples cannot be told apart from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(4, 2), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.inner(inputs.reshape(-1, 4))).reshape(-1, 6)
        output: Tensor = self.last(hidden)
        return output


class _Attention(nn.Module):
    """Holds a Linear (`out_proj`) whose weight is used without the module being called."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.last(self.attention(inputs, inputs, inputs, need_weights=False)[0].mean(dim=1))
        return output


class _LearnedScale(nn.Module):
    """Holds a parameter that is a single number, of no dimension at all."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.scale = nn.Linear(4, 3), nn.Parameter(torch.tensor(1.5))

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.scale * self.last(torch.tanh(inputs))
        return output


def make_problem(name: str, examples: int = 7, classes: int = 3) -> tuple[Problem, TensorData]:
    model, shape = networks()[name]
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randn(examples, *shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(classes, (examples,), generator=generator)
    return Problem(model, SoftmaxCrossEntropy(weight_decay=DECAY)), TensorData(inputs, targets)


def flatten(vectors: Vectors) -> Tensor:
    """{name: [K, *shape]} as [K, P]."""
    return torch.cat([rows(value) for value in vectors.values()], dim=1)


def unflatten(flat: Tensor, like: dict[str, Tensor]) -> Vectors:
    """[K, P] as {name: [K, *shape]}."""
    parts = flat.split([value.numel() for value in like.values()], dim=1)
    return {name: part.view(-1, *value.shape) for (name, value), part in zip(like.items(), parts, strict=True)}


def loss_gradients(problem: Problem, data: TensorData) -> Tensor:
    """Gradient of every example's loss, one example at a time through autograd, [N, P]."""
    rows = []
    for inputs, targets in data.batches(1):
        leaves = {name: value.clone().requires_grad_(True) for name, value in problem.parameters.items()}
        loss = problem.objective.loss(problem.outputs(leaves, inputs), targets).sum()
        grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        rows.append(
            torch.cat(
                [
                    (g if g is not None else torch.zeros_like(v)).flatten()
                    for g, v in zip(grads, leaves.values(), strict=True)
                ]
            )
        )
    return torch.stack(rows)


def output_jacobians(problem: Problem, data: TensorData) -> Tensor:
    """Jacobian of every example's outputs, [N, C, P]."""

    def outputs(parameters: dict[str, Tensor], example: Tensor) -> Tensor:
        return problem.outputs(parameters, example.unsqueeze(0))[0]

    jacobians = vmap(jacrev(outputs), in_dims=(None, 0))(problem.parameters, data.inputs)
    return torch.cat([value.reshape(*value.shape[:2], -1) for value in jacobians.values()], dim=2)


def output_hessians(problem: Problem, data: TensorData) -> Tensor:
    """Hessian of every example's loss in its outputs, by differentiating the loss twice, [N, C, C]."""
    outputs = problem.outputs(problem.parameters, data.inputs)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return problem.objective.loss(output.unsqueeze(0), target.unsqueeze(0))[0]

    return vmap(torch.func.hessian(loss))(outputs, data.targets)


def gauss_newton(problem: Problem, data: TensorData) -> Tensor:
    """G without regularisation, [P, P]."""
    jacobians = output_jacobians(problem, data)
    return torch.einsum("ncp,ncd,ndq->pq", jacobians, output_hessians(problem, data), jacobians) / len(data)


def decay_diagonal(problem: Problem) -> Tensor:
    """The diagonal of the regularisation's Hessian, [P]."""
    weights = [
        torch.full_like(value, 0.0 if name.endswith("bias") else problem.objective.weight_decay).flatten()
        for name, value in problem.parameters.items()
    ]
    return torch.cat(weights)


def relative_error(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).norm() / truth.norm().clamp_min(1e-300))
