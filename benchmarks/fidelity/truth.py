"""Models trained again on random halves, kept on disk: methods can be scored anew without training anything."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.fidelity.protocols import Protocol
from influence.measurement import resolve_measurement
from influence.problem import TensorData
from influence.retraining import Retraining, Run, stacked_outputs
from influence.retraining.descent import Positions
from influence.vectors import Vectors
from tasks.artifacts import fingerprint
from tasks.progress import Progress
from tasks.shards import Shards

FIRST_SEED = 1000  # of the models that are scored; those of the truth have others


@dataclass(frozen=True)
class Truth:
    """What retraining says.

    Attributes:
        train: the training set.
        queries: reported ones first.
        members: which examples each subset holds, bool [M, N].
        actual: the measurement, [S, Q, M].
        models: trained on everything, the ones that are scored.
    """

    train: TensorData
    queries: TensorData
    members: Tensor
    actual: Tensor
    models: list[nn.Module]


def measure(name: str, protocol: Protocol, work: Path) -> Truth:
    """Train all models of a protocol, or read them where they have been trained already."""
    train, queries = protocol.load()
    rng = np.random.default_rng(0)
    halves = [np.sort(rng.permutation(len(train))[: len(train) // 2]) for _ in range(protocol.subsets)]
    retraining = Retraining(protocol.start, protocol.objective, protocol.recipe, partial(read_examples, train))
    jobs: dict[str, tuple[list[Run], Callable[[Vectors], Vectors]]] = {}
    full = [Run(np.arange(len(train)), FIRST_SEED + index) for index in range(protocol.ensemble)]
    for index, chunk in enumerate(retraining.chunks(full)):
        jobs[f"full-{index:03d}"] = (chunk, lambda states: states)
    for seed in range(protocol.seeds):
        runs = [Run(half, seed) for half in halves]
        for index, chunk in enumerate(retraining.chunks(runs)):
            jobs[f"seed{seed}-{index:03d}"] = (chunk, partial(_outputs, protocol, queries))
    progress = Progress(f"protocol {name}", sum(len(runs) for runs, _ in jobs.values()), "models")

    def train_shard(shard: str) -> Vectors:
        runs, keep = jobs[shard]
        kept = keep(retraining.train(runs, protocol.recipe.epochs))
        progress.advance(len(runs))
        return kept

    described = [protocol.title, protocol.subsets, protocol.ensemble, retraining.together]
    described += [hash_of(part) for data in (train, queries) for part in (data.inputs, data.targets)]
    shards = Shards(work, name, fingerprint(described, torch.__version__))
    shards.run(list(jobs), train_shard)
    outputs = [
        torch.cat([shards.read(shard)["outputs"] for shard in jobs if shard.startswith(f"seed{seed}-")])
        for seed in range(protocol.seeds)
    ]
    measured = resolve_measurement(protocol.measurement, protocol.objective)
    actual = torch.stack([torch.stack([measured(row, queries.targets) for row in part], dim=1) for part in outputs])
    members = torch.zeros(len(halves), len(train), dtype=torch.bool)
    for row, half in zip(members, halves, strict=True):
        row[torch.from_numpy(half)] = True
    states = [shards.read(shard) for shard in jobs if shard.startswith("full-")]
    return Truth(train, queries, members, actual.double(), models_of(protocol, states))


def models_of(protocol: Protocol, states: list[Vectors]) -> list[nn.Module]:
    models = []
    for part in states:
        for index in range(len(next(iter(part.values())))):
            model = protocol.start(0)
            model.load_state_dict({name: value[index] for name, value in part.items()})
            models.append(model.eval())
    return models


def _outputs(protocol: Protocol, queries: TensorData, states: Vectors) -> Vectors:
    return {"outputs": stacked_outputs(protocol.start(0), protocol.objective, states, queries.inputs)}


def read_examples(train: TensorData, positions: Positions) -> tuple[Tensor, Tensor]:
    return train.inputs[positions], train.targets[positions]


def hash_of(tensor: Tensor) -> str:
    """Of its content."""
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
