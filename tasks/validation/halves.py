"""The model trained again on random halves of its training set: what its scores say of them is measured there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from influence.fidelity import (
    ceiling,
    ceiling_draws,
    datamodelling_draws,
    datamodelling_score,
    difference,
    estimate,
    resample,
)
from influence.retraining import Run
from tasks.validation.names import INFLUENCE
from tasks.validation.retrainer import Retrainer

SUBSETS = 5  # purpose of random numbers


@dataclass(frozen=True)
class Halves:
    """Random halves of the training set, and the losses on models trained on each.

    Attributes:
        members: bool [M, N].
        losses: of every validation example, nats, [S, V, M].
    """

    members: Tensor
    losses: Tensor

    def at(self, positions: np.ndarray) -> Tensor:
        """Losses of some validation examples, [S, Q, M]."""
        return self.losses[:, torch.from_numpy(positions)]


def retrain(retrainer: Retrainer, subsets: int, seeds: int) -> Halves:
    """Train every half with every seed, or read what an earlier run has trained."""
    examples = len(retrainer.train)
    rng = np.random.default_rng([retrainer.parameters.seed, SUBSETS])
    halves = [np.sort(rng.permutation(examples)[: examples // 2]) for _ in range(subsets)]
    runs = [Run(half, seed) for seed in retrainer.seeds(seeds) for half in halves]
    losses = retrainer.losses(runs, "retraining on halves")
    members = torch.zeros(subsets, examples, dtype=torch.bool)
    for row, half in zip(members, halves, strict=True):
        row[torch.from_numpy(half)] = True
    return Halves(members, losses.unflatten(0, (seeds, subsets)).transpose(1, 2))


def measure(losses: Tensor, predicted: dict[str, Tensor]) -> dict[str, Any]:
    """Datamodelling score of every method, how far that of the scores exceeds each other one, and the ceiling.

    Args:
        losses: of the queries, [S, Q, M].
        predicted: rise of each query's loss when what is not in a half is left out, [Q, M], by method.
    """
    actual = losses.mean(dim=0)
    draws = resample(actual.shape[1], actual.shape[0])
    scores = {
        name: (datamodelling_score(found, actual), datamodelling_draws(found, actual, draws))
        for name, found in predicted.items()
    }
    others = [name for name in scores if name != INFLUENCE]
    noise = None  # where each half was trained once nothing tells it from signal
    if len(losses) > 1:
        noise = estimate(ceiling(losses), ceiling_draws(losses, draws)).rounded()
    return {
        "scores": {name: estimate(*score).rounded() for name, score in scores.items()},
        "above": {name: difference(scores[INFLUENCE], scores[name]).rounded() for name in others},
        "ceiling": noise,
    }
