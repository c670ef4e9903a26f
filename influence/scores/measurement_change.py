"""How much a measurement of queries changes when the parameters move by a finite step.

The difference of two losses that agree in six digits has lost six digits. The integral of the derivative along the
step, sum_j w_j dm/dt(theta + t_j step) with t_j, w_j of Gauss and Legendre, is the same number and loses nothing, so
that the answer is good in float32 too. Of a long step, or one across the kinks of a network, the nodes see too little;
there the difference is large, and its digits are taken.
"""

import numpy as np
import torch
from torch import Tensor
from torch.func import jvp, vmap

from influence.measurement import Measurement, resolve_measurement
from influence.memory import activations_per_example
from influence.problem import Data, Problem
from influence.vectors import Vectors, add_scaled, count

NODES = 4  # exact for polynomials of degree 7 along the step
QUERIES = 256  # at once: more gain no speed
DIGITS = 0.75  # share of the digits that a difference must keep to be taken


def measurement_changes(
    problem: Problem,
    changes: Vectors,
    queries: Data,
    measurement: Measurement = "loss",
    memory_limit: int = 2**30,
) -> Tensor:
    """Measurement at theta + change less measurement at theta, of every query and every change, [Q, K].

    Nothing is taken to be linear: not the measurement in the outputs, nor the outputs in the parameters.

    Args:
        problem: the model at its trained parameters theta.
        changes: of the parameters, {name: [K, *shape]}.
        queries: Q examples.
        measurement: what is measured of outputs and targets.
        memory_limit: bytes for intermediate results.
    """
    measure = resolve_measurement(measurement, problem.objective)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    rule = [(float(0.5 + 0.5 * node), float(0.5 * weight)) for node, weight in zip(nodes, weights, strict=True)]
    probe = next(iter(queries.batches(1, problem.device)))[0]
    width = 4 * activations_per_example(problem, probe) * torch.finfo(problem.dtype).bits // 8
    size = max(1, min(QUERIES, memory_limit // width))
    together = max(1, min(count(changes), memory_limit // (width * size)))

    def batch(inputs: Tensor, targets: Tensor) -> Tensor:
        def measured(parameters: Vectors) -> Tensor:
            return measure(problem.outputs(parameters, inputs), targets)

        with torch.no_grad():
            outputs = problem.outputs(problem.parameters, inputs)
            before = measure(outputs, targets)
        # What is measured cannot be more exact than the outputs it is made of.
        size = before.abs() + outputs.abs().amax(dim=-1)

        def change(step: Vectors) -> Tensor:
            slopes = [
                weight * jvp(measured, (add_scaled(problem.parameters, node, step),), (step,))[1]
                for node, weight in rule
            ]
            after = measured({name: value + step[name] for name, value in problem.parameters.items()})
            difference, least = after - before, torch.finfo(problem.dtype).eps ** (1 - DIGITS)
            large = difference.abs() > least * (size + after.abs())
            return torch.where(large, difference, torch.stack(slopes).sum(dim=0))

        found: Tensor = vmap(change, out_dims=1, chunk_size=together)(changes)
        return found.detach()

    return torch.cat([batch(*part) for part in queries.batches(size, problem.device)])
