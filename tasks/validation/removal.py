"""Removal curves: the loss of the queries when the examples held most helpful to them are left out of training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from influence.fidelity import estimate, resample, without_extremes, without_random
from influence.retraining import Run
from tasks.validation.methods import Methods
from tasks.validation.names import INFLUENCE, SIMILARITY
from tasks.validation.retrainer import Retrainer

RANDOM = "random"
COMPARED = (INFLUENCE, SIMILARITY)
DRAW = 8  # purpose of random numbers


@dataclass(frozen=True)
class Removal:
    """A share of the training set left out.

    Attributes:
        removed: examples left out.
        rises: of each query's loss over that of models trained on everything, nats, [Q], by what chose them.
    """

    removed: int
    rises: dict[str, Tensor]


def remove(retrainer: Retrainer, methods: Methods, shares: list[float], seeds: int) -> list[Removal]:
    """Leave out the examples most helpful to all queries together, by each method, and as many at random."""
    everything = np.arange(len(methods.train))
    helpful: dict[str, list[Tensor]] = {name: [] for name in COMPARED}
    for _, scores in methods.batches():
        for name, parts in helpful.items():
            parts.append(scores[name].double().mean(dim=0).cpu())

    def losses(kept: np.ndarray) -> Tensor:
        runs = [Run(kept, seed) for seed in retrainer.seeds(seeds)]
        found = retrainer.losses(runs, f"retraining on {len(kept):,} examples").mean(dim=0)
        return found[torch.from_numpy(methods.positions)]

    before, found = losses(everything), []
    for share in shares:
        removed = min(max(1, round(share * len(everything))), len(everything) - 1)
        kept = {name: without_extremes(torch.cat(parts), removed) for name, parts in helpful.items()}
        kept[RANDOM] = without_random(len(everything), removed, retrainer.parameters.seed + DRAW)
        found.append(Removal(removed, {name: losses(part) - before for name, part in kept.items()}))
    return found


def measure(removals: list[Removal]) -> list[dict[str, Any]]:
    """Mean rise over the queries, with its interval over queries, a share after the other."""
    rows: list[dict[str, Any]] = []
    for removal in removals:
        queries = resample(1, len(removal.rises[RANDOM])).queries
        means = {
            name: estimate(float(rise.mean()), queries @ rise.double().cpu() / len(rise)).rounded()
            for name, rise in removal.rises.items()
        }
        rows.append({"removed": removal.removed, **means})
    return rows
