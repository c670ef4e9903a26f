"""How a memory limit is shared out before any work is done, so that it holds while it is done."""

from dataclasses import dataclass

import torch
from torch import Tensor

from influence.layers import GradientBlock, PerExampleGradients
from influence.memory import activations_per_example

LARGEST_BATCH = 512  # more examples at once gain no speed
CACHED_BATCH = 128  # of what is only read, more lose some on a CPU: it leaves the caches
LARGEST_BLOCK = 64  # nor more vectors solved for in one block
ITERATIVE_COPIES = 16  # of a block of vectors that live at once while a solver iterates
CLOSED_COPIES = 8  # and while an approximation is inverted in closed form
SOLUTIONS = 2  # the queries' solutions, and those of a layer as matrices


@dataclass(frozen=True)
class MemoryPlan:
    """The shares of a limit; together they are the limit, or as little above it as one example or one query takes.

    The model, the training set, the factors of an approximation and what is returned come on top.

    Attributes:
        curvature: bytes for products with an exact curvature, and for a direct solver's matrix.
        preconditioner: bytes for what a preconditioner keeps.
        working: bytes for the intermediate results of one batch.
        solved: vectors solved for in one block.
        scored: queries that training examples are scored against in one pass over them.
        examples: training examples scored at once.
        read: training examples at once where they meet no queries.
    """

    curvature: int
    preconditioner: int
    working: int
    solved: int
    scored: int
    examples: int
    read: int

    @classmethod
    def of(
        cls, gradients: PerExampleGradients, inputs: Tensor, targets: Tensor, limit: int, exact: bool
    ) -> "MemoryPlan":
        """Shares planned from what reading one example takes.

        Args:
            gradients: reads per-example gradients of the problem.
            inputs: of one example, [1, ...].
            targets: of one example, [1, ...].
            limit: bytes.
            exact: whether an exact curvature is solved with, or an approximation inverted.
        """
        size = torch.finfo(gradients.problem.dtype).bits // 8
        vector = size * gradients.problem.parameter_count
        solutions, copies = (limit // 8, ITERATIVE_COPIES) if exact else (limit // 2, CLOSED_COPIES)
        scored = max(1, solutions // (SOLUTIONS * vector))
        read = CACHED_BATCH if inputs.device.type == "cpu" else LARGEST_BATCH
        alone = _bytes_of_example(gradients, inputs, targets)
        example = alone + 2 * size * scored * _widest_output(gradients)
        return cls(
            curvature=limit // 2,
            preconditioner=limit // 8,
            working=limit // 4,
            solved=max(1, min(LARGEST_BLOCK, limit // 4 // (copies * vector))),
            scored=scored,
            examples=max(1, min(LARGEST_BATCH, limit // 4 // example)),
            read=max(1, min(read, limit // 4 // alone)),
        )


def _bytes_of_example(gradients: PerExampleGradients, inputs: Tensor, targets: Tensor) -> int:
    """What reading the gradient of one example takes: the pass, what is read, and its contraction."""
    readings = gradients.read(inputs, targets=targets)
    read = [tensor for layer in readings.layers.values() for tensor in (layer.activations, layer.gradients)]
    held = sum(tensor.nbytes for tensor in [*read, *readings.rest.values()])
    size = torch.finfo(gradients.problem.dtype).bits // 8
    activations = size * activations_per_example(gradients.problem, inputs)
    return 4 * activations + 2 * held + 2 * GradientBlock(gradients, readings).nbytes


def _widest_output(gradients: PerExampleGradients) -> int:
    """Of the layers: the product of a batch with a block of vectors is so wide for every example and vector."""
    return max([gradients.problem.parameters[layer.weight].shape[0] for layer in gradients.layers], default=1)
