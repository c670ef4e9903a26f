"""The model trained again on random halves of its training set: what its scores say of them is measured there.

It is the training that made the model, with other seeds: as many epochs as made the weights that were kept, the same
plan of learning rates, and no look at the validation examples, since those are the queries.
"""

from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn

from influence.fidelity import (
    Draws,
    ceiling,
    ceiling_draws,
    datamodelling_draws,
    datamodelling_score,
    difference,
    estimate,
    resample,
)
from influence.objective import SoftmaxCrossEntropy
from influence.retraining import Retraining, Run, stacked_outputs
from influence.retraining.descent import Read
from tasks.artifacts import PACKAGE, content_hash, fingerprint
from tasks.dataset import Split
from tasks.determinism import derived_seed
from tasks.fitting import recipe
from tasks.models import build, factory_source
from tasks.parameters import Parameters
from tasks.progress import Progress
from tasks.shards import Shards
from tasks.validation.methods import INFLUENCE, Methods
from tasks.workspace import Workspace

SUBSETS, SEEDS = 5, 6  # purposes of random numbers


@dataclass(frozen=True)
class Halves:
    """Random halves of the training set, and the loss of the queries on models trained on each.

    Attributes:
        members: bool [M, N].
        losses: nats, [S, Q, M].
    """

    members: Tensor
    losses: Tensor


def retrain(workspace: Workspace, parameters: Parameters, train: Split, methods: Methods, epochs: int) -> Halves:
    """Train every half with every seed, or read what an earlier run has trained.

    The shards stay when the stage is done: they do not depend on the curvature, so that a change of it is measured
    again without any training.
    """
    settings, device = parameters.validation, methods.inputs.device
    objective = SoftmaxCrossEntropy(parameters.train.weight_decay)

    def start(seed: int) -> nn.Module:
        return build(parameters.train, train.encoding, seed).to(device)

    read = reader(train, device, parameters.compute.memory_bytes)
    retraining = Retraining(start, objective, recipe(parameters.train), read, parameters.compute.memory_bytes)
    rng = np.random.default_rng([parameters.seed, SUBSETS])
    halves = [np.sort(rng.permutation(len(train))[: len(train) // 2]) for _ in range(settings.subsets)]
    seeds = [derived_seed(parameters.seed, SEEDS, index) for index in range(settings.seeds)]
    runs = [Run(half, seed) for seed in seeds for half in halves]
    chunks = retraining.chunks(runs)
    names = [f"{index:04d}" for index in range(len(chunks))]
    identity = _identity(workspace, parameters, methods, epochs, retraining.together, device)
    shards = Shards(workspace.work, "validate", identity)
    finished = sum(len(chunk) for name, chunk in zip(names, chunks, strict=True) if shards.done(name))
    progress = Progress("validate: retraining", len(runs), "models", done=finished)

    def compute(name: str) -> dict[str, Tensor]:
        chunk = chunks[names.index(name)]
        states = retraining.train(chunk, epochs)
        outputs = stacked_outputs(start(0), objective, states, methods.inputs)
        progress.advance(len(chunk))
        return {"losses": torch.stack([objective.loss(row, methods.targets) for row in outputs])}

    shards.run(names, compute)
    losses = torch.cat([shards.read(name)["losses"] for name in names]).double()
    members = torch.zeros(len(halves), len(train), dtype=torch.bool)
    for row, half in zip(members, halves, strict=True):
        row[torch.from_numpy(half)] = True
    return Halves(members, losses.unflatten(0, (len(seeds), len(halves))).transpose(1, 2))


def measure(halves: Halves, predicted: dict[str, Tensor]) -> dict[str, object]:
    """Datamodelling score of every method, how far the scores exceed each other one, and the ceiling.

    Args:
        halves: the truth.
        predicted: rise of each query's loss when what is not in a half is left out, [Q, M], by method.
    """
    actual = halves.losses.mean(dim=0)
    draws = resample(actual.shape[1], actual.shape[0])
    scores = {
        name: (datamodelling_score(found, actual), datamodelling_draws(found, actual, draws))
        for name, found in predicted.items()
    }
    own = scores[INFLUENCE]
    return {
        "scores": {name: estimate(*score).rounded() for name, score in scores.items()},
        "above": {name: difference(own, score).rounded() for name, score in scores.items() if name != INFLUENCE},
        "ceiling": _ceiling(halves.losses, draws),
    }


def reader(split: Split, device: torch.device, memory: int) -> Read:
    """Reads examples by position: from tensors made once where a quarter of the memory holds them, else one by one."""
    inputs, _ = split.batch(slice(0, 1), device)
    if 4 * inputs.nbytes * len(split) > memory:
        return partial(split.batch, device=device)
    every, labels = split.batch(slice(None), device)
    return lambda positions: (every[positions], labels[positions])


def _ceiling(losses: Tensor, draws: Draws) -> dict[str, float] | None:
    """None where each half was trained once: then nothing tells noise from signal."""
    return estimate(ceiling(losses), ceiling_draws(losses, draws)).rounded() if len(losses) > 1 else None


def _identity(
    workspace: Workspace, parameters: Parameters, methods: Methods, epochs: int, together: int, device: torch.device
) -> str:
    source = factory_source(parameters.train.factory)
    return fingerprint(
        parameters.model_dump(mode="json", include={"seed", "compute", "train"}),
        [parameters.validation.subsets, parameters.validation.seeds, epochs, together],
        [content_hash(path) for path in (workspace.encoding, workspace.split("train"), workspace.split("validation"))],
        methods.queries.ids,
        content_hash(source) if source else None,
        [version(PACKAGE), torch.__version__, device.type, torch.get_num_threads()],  # bits depend on these
    )
