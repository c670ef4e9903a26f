"""The linear system of a workspace as one dense float64 matrix: what solvers and scores are checked against."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn import functional as F

from tasks.dataset import Split, load_split
from tasks.models import load_model
from tasks.parameters import Parameters
from tasks.tensors import read_tensors
from tasks.workspace import Workspace


@dataclass(frozen=True)
class DenseSystem:
    """Attributes:
    matrix: Gauss-Newton plus weight decay plus damping, [P, P].
    shares: gradient of every training example's loss plus regularisation, [N, P].
    gradients: gradient of every training example's loss, [N, P].
    queries: gradient of every validation example's loss, [V, P].
    names: of the parameters, in the order of the P columns.
    """

    matrix: Tensor
    shares: Tensor
    gradients: Tensor
    queries: Tensor
    names: list[str]

    def pairwise(self, queries: Tensor) -> Tensor:
        """Influence of every training example on queries [Q, P], in nats, [Q, N]."""
        return queries @ torch.linalg.solve(self.matrix, self.shares.T) / len(self.shares)

    def flat(self, vectors: dict[str, Tensor]) -> Tensor:
        """{name: [K, *shape]}, in whatever order, as [K, P]."""
        return torch.cat([vectors[name].double().flatten(1) for name in self.names], dim=1)


def dense_system(workspace: Workspace, parameters: Parameters) -> DenseSystem:
    """Built by torch.func alone, from the weights and the splits of the workspace."""
    train, validation = load_split(workspace, "train"), load_split(workspace, "validation")
    model = load_model(workspace, parameters, train.encoding, torch.device("cpu")).double()
    weights = {name: value.detach() for name, value in model.named_parameters()}
    inputs = train.batch(slice(None))[0].double()

    def outputs(theta: dict[str, Tensor], example: Tensor) -> Tensor:
        found: Tensor = functional_call(model, theta, (example[None],))[0]
        return found

    def loss(theta: dict[str, Tensor], example: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(outputs(theta, example), label)

    def gradients(split: Split) -> Tensor:
        examples, labels = split.batch(slice(None))
        found = vmap(grad(loss), in_dims=(None, 0, 0))(weights, examples.double(), labels)
        return torch.cat([value.flatten(1) for value in found.values()], dim=1)

    jacobians = vmap(jacrev(outputs), in_dims=(None, 0))(weights, inputs)
    jacobian = torch.cat([value.flatten(2) for value in jacobians.values()], dim=2)
    probabilities = model(inputs).softmax(dim=1).detach()
    hessians = torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None, :]
    gauss_newton = torch.einsum("ncp,ncd,ndq->pq", jacobian, hessians, jacobian) / len(train)
    decay = torch.cat(
        [
            torch.full((value.numel(),), 0.0 if name.endswith("bias") else parameters.train.weight_decay).double()
            for name, value in weights.items()
        ]
    )
    damping = read_tensors(workspace.queries)[1]["damping"]
    theta = torch.cat([value.flatten() for value in weights.values()])
    own = gradients(train)
    return DenseSystem(
        gauss_newton + torch.diag(decay + damping), own + decay * theta, own, gradients(validation), list(weights)
    )
