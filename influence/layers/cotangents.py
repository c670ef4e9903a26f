"""What the outputs of a model are multiplied by before they are differentiated."""

import torch
from torch import Tensor

from influence.measurement import Measure
from influence.problem import Problem


def measurement_cotangents(measure: Measure, outputs: Tensor, targets: Tensor) -> Tensor:
    """Gradient of what is measured of each example in its outputs, [1, B, C].

    Raises:
        ValueError: what is measured is not one number an example, or does not depend on the outputs.
    """
    leaf = outputs.detach().requires_grad_(True)
    with torch.enable_grad():
        measured = measure(leaf, targets)
        if measured.shape != outputs.shape[:1]:
            raise ValueError(
                f"a loss or measurement of {len(outputs)} examples must be of shape [{len(outputs)}], one number an "
                f"example, not {list(measured.shape)}"
            )
        if not measured.requires_grad:
            raise ValueError("the loss or measurement cannot be differentiated: it does not depend on the outputs")
        (gradient,) = torch.autograd.grad(measured.sum(), leaf)
    return gradient.unsqueeze(0)


def hessian_columns(problem: Problem, outputs: Tensor, targets: Tensor, limit: int, seed: int = 0) -> Tensor:
    """Columns whose outer products sum to the Hessian of each example's loss in its outputs, [L, B, C].

    Up to `limit` outputs the sum is exact: for cross-entropy, the exact expectation over labels. Beyond, `limit` random
    columns (for cross-entropy, of labels drawn from the model) sum to it in expectation.

    Raises:
        ValueError: the loss is not convex in the outputs.
    """
    if outputs.shape[-1] <= limit:
        return problem.objective.root_columns(outputs, targets)
    generator = torch.Generator(device=outputs.device).manual_seed(seed)
    return problem.objective.sampled_columns(outputs, targets, limit, generator)
