"""What the outputs of a model are multiplied by before they are differentiated."""

import torch
from torch import Tensor

from influence.problem import Problem


def loss_cotangents(problem: Problem, outputs: Tensor, targets: Tensor) -> Tensor:
    """Gradient of each example's loss in its outputs, [1, B, C]."""
    leaf = outputs.detach().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(problem.objective.loss(leaf, targets).sum(), leaf)
    return gradient.unsqueeze(0)


def label_columns(problem: Problem, outputs: Tensor, limit: int, seed: int = 0) -> Tensor:
    """Columns whose outer products sum to the Hessian of the loss in the outputs, [L, B, C].

    Up to `limit` labels these are sqrt(p_l) * gradient at label l, for every label: the exact expectation. Beyond it,
    one label is drawn per column and example, `limit` columns in all.
    """
    probabilities, gradients = problem.objective.label_gradients(outputs)
    labels = probabilities.shape[-1]
    if labels <= limit:
        return (probabilities.clamp_min(0).sqrt().unsqueeze(-1) * gradients).movedim(1, 0)
    generator = torch.Generator(device=outputs.device).manual_seed(seed)
    drawn = torch.multinomial(probabilities, limit, replacement=True, generator=generator)
    return (gradients.gather(1, drawn.unsqueeze(-1).expand(-1, -1, outputs.shape[-1])) / limit**0.5).movedim(1, 0)
