"""`damping: auto`: of several dampings, and curvatures, those whose scores predict retraining best.

They are measured on queries kept for that alone: validation examples that the run does not report on, so that what
`validate` measures later is not what was tuned. Both share the retrainings.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from influence.fidelity import datamodelling_score
from influence.layers import PerExampleGradients, as_vectors
from influence.memory import gradient_batch
from influence.scores import Pairwise
from influence.scores.group import first_order_groups
from influence.vectors import Vectors
from tasks.dataset import Split
from tasks.errors import UserError
from tasks.parameters import Curvature, Parameters
from tasks.shards import Shards
from tasks.validation.halves import retrain
from tasks.validation.retrainer import Retrainer

DRAW = 9  # purpose of random numbers


@dataclass(frozen=True)
class Candidate:
    """A curvature, and a damping as a multiple of its mean eigenvalue."""

    curvature: Curvature
    damping: float


Solve = Callable[[Candidate, Vectors], Vectors]  # solutions for a block of right-hand sides


def require_training(parameters: Parameters) -> None:
    """Make sure that a damping that is to be chosen by retraining can be.

    Raises:
        UserError: the training is not known.
    """
    if parameters.precondition.damping == "auto" and parameters.train.checkpoint is not None:
        raise UserError(
            "`precondition.damping: auto` measures by retraining, but the weights were given and the training that "
            "made them is not known: give a damping"
        )


def tuning_queries(validation: Split, reported: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of validation examples drawn at random among those that are not reported on.

    Raises:
        UserError: there are none.
    """
    others = np.setdiff1d(np.arange(len(validation)), reported)
    if not len(others):
        raise UserError(
            "`precondition.damping: auto` needs validation examples that are no queries: lower `precondition.queries`, "
            "or raise `prepare.validation`"
        )
    return np.sort(np.random.default_rng([seed, DRAW]).permutation(others)[:count])


def tune(
    shards: Shards, retrainer: Retrainer, gradients: PerExampleGradients, reported: np.ndarray, solve: Solve
) -> dict[Candidate, float]:
    """How well influence predicts retraining with each curvature, at dampings uphill from the middle of the grid.

    Args:
        shards: keep what has been measured.
        retrainer: trains on halves.
        gradients: of the trained model.
        reported: positions of the queries of the run.
        solve: by a curvature at a damping.

    Returns:
        linear datamodelling score on the tuning queries of every candidate that was tried.
    """
    parameters, train = retrainer.parameters, retrainer.train
    settings = parameters.precondition.tuning
    queries = tuning_queries(retrainer.validation, reported, settings.queries, parameters.seed)
    halves = retrain(retrainer, settings.subsets, settings.seeds)
    actual = halves.at(queries).mean(dim=0)
    left_out = [torch.nonzero(~row).squeeze(1) for row in halves.members]
    inputs, targets = retrainer.validation.batch(queries, retrainer.device)
    right = as_vectors(gradients, gradients.read(inputs, targets=targets))
    size = gradient_batch(gradients.problem, inputs[:1], parameters.compute.memory_bytes)
    found: dict[Candidate, float] = {}

    def measure(candidate: Candidate) -> float:
        def compute(_: str) -> dict[str, Tensor]:
            pairwise = Pairwise(gradients, solve(candidate, right), len(train))
            predicted = first_order_groups(pairwise, train, left_out, size)
            return {"score": torch.tensor(datamodelling_score(predicted.double().cpu(), actual), dtype=torch.float64)}

        name = f"tuning-{candidate.curvature}-{candidate.damping:g}"
        shards.run([name], compute)
        score = float(shards.read(name)["score"])
        if candidate not in found:
            print(
                f"precondition: {candidate.curvature}, damping {candidate.damping:g} x mean eigenvalue, has LDS "
                f"{score:.3f} on the tuning queries",
                flush=True,
            )
        found[candidate] = score
        return score

    wanted = parameters.precondition.curvature
    curvatures: tuple[Curvature, ...] = get_args(Curvature) if wanted == "auto" else (wanted,)
    for curvature in curvatures:
        climb([Candidate(curvature, damping) for damping in sorted(settings.dampings)], measure)
    return found


def climb(candidates: list[Candidate], score: Callable[[Candidate], float]) -> Candidate:
    """Uphill from the middle of a row of candidates, to one that is no worse than its neighbours."""

    def height(place: int) -> float:
        return score(candidates[place]) if 0 <= place < len(candidates) else -math.inf

    best = len(candidates) // 2
    while (higher := max((best, best - 1, best + 1), key=height)) != best:
        best = higher
    return candidates[best]
