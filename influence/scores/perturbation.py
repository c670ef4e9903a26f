"""How influence changes as the input of a training example is moved.

The parameters of a model trained with x moved by dx differ by -(H + damping I)^-1 (d g_z / dx) dx / n, and a query's
loss by

    I_pert,loss dx / n = -s_q^T (d g_z / dx) dx / n,      s_q = (H + damping I)^-1 g_q

(Koh & Liang 2017, equation 5), the regularisation being the same at every x. What is returned here is the derivative of
z's influence s_q^T g_z / n, that is -I_pert,loss / n: along it z becomes more helpful to the query, whose loss falls
by as much when the model is trained again. An attack follows its opposite.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

from influence.memory import activations_per_example
from influence.problem import Data, Problem
from influence.subset import take
from influence.vectors import Vectors, count

COPIES = 8  # of the activations of a batch that live in memory at once, per query
EXAMPLES = 256  # at once: more gain no speed


def perturbation(
    problem: Problem,
    solutions: Vectors,
    data: Data,
    indices: Tensor | Sequence[int],
    memory_limit: int = 2**30,
) -> Tensor:
    """Derivative of the influence of training examples on queries in the examples' inputs, [Q, K, *input shape].

    In units of the measurement (nats, for the loss) per unit of input. By automatic differentiation through the whole
    model, whatever its layers.

    Args:
        problem: the model at its trained parameters.
        solutions: s_q of every query, {name: [Q, *shape]}.
        data: the n training examples; their inputs are floating-point numbers.
        indices: positions of K training examples.
        memory_limit: bytes for intermediate results.

    Raises:
        TypeError: the inputs are whole numbers.
        ValueError: there is no position, or one that the data does not have.
    """
    examples = take(data, indices)
    if not examples.inputs.is_floating_point():
        raise TypeError(
            f"inputs of type {examples.inputs.dtype} cannot be moved by a little: give the model inputs of floating "
            "point, such as the embeddings of tokens in place of their numbers"
        )
    width = COPIES * activations_per_example(problem, examples.inputs[:1].to(problem.device))
    values = max(1, memory_limit // (width * torch.finfo(problem.dtype).bits // 8))
    together = min(count(solutions), values)
    size = max(1, min(EXAMPLES, values // together))

    def batch(inputs: Tensor, targets: Tensor) -> Tensor:
        def input_gradients(parameters: Vectors) -> Tensor:
            """Of the loss of each example in its own input, on which no other loss depends."""
            return grad(lambda moved: problem.loss(parameters, moved, targets).sum())(inputs)

        def of_query(solution: Vectors) -> Tensor:
            # Forward over reverse: torch's forward rule of layer normalisation cannot be differentiated in reverse.
            derivative: Tensor = jvp(input_gradients, (problem.parameters,), (solution,))[1]
            return derivative

        found: Tensor = vmap(of_query, chunk_size=together)(solutions)
        return found.detach() / len(data)

    return torch.cat([batch(*part) for part in examples.batches(size, problem.device)], dim=1)
