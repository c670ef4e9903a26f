"""Whether the model trained with another seed would have given the same top lists."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from influence.fidelity import rank_stability, top_overlap
from influence.layers import PerExampleGradients
from influence.memory import gradient_batch
from influence.problem import Problem
from influence.retraining import Run
from influence.scores import Pairwise
from tasks.parameters import Curvature, Parameters
from tasks.precondition import query_gradients
from tasks.solver import Solver, curvature_examples, fit
from tasks.validation.methods import Methods
from tasks.validation.names import INFLUENCE
from tasks.validation.retrainer import Retrainer


def compare(
    retrainer: Retrainer, parameters: Parameters, methods: Methods, damping: float, curvature: Curvature
) -> dict[str, Any]:
    """Train on everything with other seeds, score the queries through each of these models, and compare the lists.

    Args:
        retrainer: trains.
        parameters: of the run.
        methods: the queries, and what the model of the run says of them.
        damping: of the run, in absolute units; the other models get the same.
        curvature: of the run.

    Returns:
        the length k of the lists; share of each that another seed lists too, for helpful and harmful examples, mean
        over queries and seeds; what chance would give; and the rank correlation within both lists together.
    """
    seeds = parameters.validation.stability
    own = torch.cat([scores[INFLUENCE].cpu() for _, scores in methods.batches()], dim=1)
    runs = [Run(np.arange(len(methods.train)), seed) for seed in retrainer.seeds(seeds)]
    k = min(parameters.score.k, len(methods.train))
    overlaps, correlations = [], []
    for model in retrainer.models(runs, "retraining on everything"):
        other = _scores(Problem(model, retrainer.objective), parameters, methods, damping, curvature)
        for sign in (1.0, -1.0):
            overlaps.append(top_overlap(sign * own, sign * other, k).double().mean())
            correlations.append(rank_stability(sign * own, sign * other, k).mean())
    return {
        "seeds": seeds,
        "k": k,
        "overlap": round(float(torch.stack(overlaps).mean()), 4),
        "by_chance": round(k / len(methods.train), 4),
        "rank_correlation": round(float(torch.stack(correlations).mean()), 4),
    }


def _scores(problem: Problem, parameters: Parameters, methods: Methods, damping: float, curvature: Curvature) -> Tensor:
    """[Q, N], by the curvature and the solver of the run."""
    train, memory = methods.train, parameters.compute.memory_bytes
    gradients = PerExampleGradients(problem, methods.inputs[:2])
    curved = curvature_examples(train, parameters.precondition, parameters.seed)
    ekfac = fit(gradients, curved, parameters.precondition, curvature, memory)
    right = query_gradients(gradients, methods.inputs, methods.targets)
    solution = Solver(ekfac, curved, parameters, damping, curvature).solve(right)
    pairwise = Pairwise(gradients, solution.vectors, len(train))
    size = gradient_batch(problem, methods.inputs[:1], memory)
    return torch.cat([pairwise.batch(*batch).cpu() for batch in train.batches(size, problem.device)], dim=1)
