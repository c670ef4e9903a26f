"""How much memory a pass through a model takes, measured before it is planned."""

import torch
from torch import Tensor, nn

from influence.problem import Problem


def activations_per_example(problem: Problem, inputs: Tensor) -> int:
    """Numbers that the modules of the model put out for one example, from a pass over `inputs` [B, ...]."""
    total = 0

    def count(module: nn.Module, args: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel()

    leaves = [module for module in problem.model.modules() if not any(module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    try:
        with torch.no_grad():
            problem.outputs(problem.parameters, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return (total + inputs.numel()) // len(inputs)


def gradient_batch(problem: Problem, inputs: Tensor, memory_limit: int, per_parameter: int = 2) -> int:
    """Examples whose per-example gradients fit the limit, `per_parameter` copies of each at once; at least 1."""
    width = per_parameter * problem.parameter_count + 4 * activations_per_example(problem, inputs)
    return max(1, min(512, memory_limit // (width * torch.finfo(problem.dtype).bits // 8)))
