"""The model trained again on parts of its training set, the way it was trained first.

As many epochs as made the weights that were kept, the same plan of learning rates, and no look at the validation
examples, since the queries are among those.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from influence.objective import SoftmaxCrossEntropy
from influence.retraining import Retraining, Run, stacked_outputs
from influence.retraining.descent import Read
from influence.vectors import Vectors
from tasks.artifacts import PACKAGE, content_hash, fingerprint, read_json
from tasks.cluster import Cluster
from tasks.dataset import Split, load_split
from tasks.determinism import derived_seed
from tasks.errors import UserError
from tasks.fitting import recipe
from tasks.models import build, factory_source
from tasks.parameters import Parameters
from tasks.predict import LARGEST_BATCH
from tasks.progress import Progress
from tasks.shard_worker import Advance, Compute
from tasks.shards import Shards, shard_path
from tasks.tensors import read_tensors, write_tensors
from tasks.workspace import Workspace

SEEDS = 6  # purpose of random numbers
Kind = Literal["losses", "model"]  # what is kept of a training


class Retrainer:
    """Trains again, and keeps what came of it.

    What is kept is named by what was trained, and stays when the stage is done: another curvature, other queries or a
    larger budget are measured without training anything twice.

    Args:
        workspace: of the run.
        parameters: of the run.
        train: the training split.
        validation: the split whose losses are kept.
        device: where to train.
        cluster: processes that train in its stead.

    Raises:
        UserError: model/metrics.json does not say which epoch made the model.
    """

    def __init__(
        self,
        workspace: Workspace,
        parameters: Parameters,
        train: Split,
        validation: Split,
        device: torch.device,
        cluster: Cluster | None = None,
    ) -> None:
        self._workspace, self._cluster = workspace, cluster
        self.parameters, self.train, self.validation, self.device = parameters, train, validation, device
        self.epochs = _epochs(workspace)
        self.objective = SoftmaxCrossEntropy(parameters.train.weight_decay)
        memory = parameters.compute.memory_bytes
        read = reader(self.train, self.device, memory)
        self._retraining = Retraining(self.start, self.objective, recipe(parameters.train), read, memory)

    def start(self, seed: int) -> nn.Module:
        """The model where the training of this seed starts."""
        return build(self.parameters.train, self.train.encoding, seed).to(self.device)

    def seeds(self, count: int) -> list[int]:
        """Seeds of the run's trainings; none is that of the model itself."""
        return [derived_seed(self.parameters.seed, SEEDS, index) for index in range(count)]

    def losses(self, runs: list[Run], title: str) -> Tensor:
        """Loss of every validation example on every model trained, nats, [K, V]."""
        return torch.cat([kept["losses"] for kept in self._kept(runs, title, "losses")]).double()

    def models(self, runs: list[Run], title: str) -> list[nn.Module]:
        """The models trained, in evaluation mode."""
        found = []
        for states in self._kept(runs, title, "model"):
            for index in range(len(next(iter(states.values())))):
                model = self.start(0)
                model.load_state_dict({name: value[index] for name, value in states.items()})
                found.append(model.eval())
        return found

    def trained(self, kind: Kind, chunk: list[Run], advance: Advance) -> Vectors:
        """Train a chunk of runs: losses of the validation examples, [K, V], or states of the models, [K, ...] each."""
        states = self._retraining.train(chunk, self.epochs, lambda epoch: advance(len(chunk)))
        return states if kind == "model" else {"losses": self._evaluated(states)}

    def _evaluated(self, states: Vectors) -> Tensor:
        model, parts = self.start(0), []
        for inputs, targets in self.validation.batches(LARGEST_BATCH, self.device):
            outputs = stacked_outputs(model, self.objective, states, inputs)
            parts.append(torch.stack([self.objective.loss(row, targets) for row in outputs]))
        return torch.cat(parts, dim=1)

    @cached_property
    def _shards(self) -> Shards:  # not before it is needed: a worker's would remove those of the stage
        return Shards(self._workspace.work, "validate", self._identity(self._workspace))

    def _kept(self, runs: list[Run], title: str, kind: Kind) -> list[Vectors]:
        chunks = {_name(kind, chunk): chunk for chunk in self._retraining.chunks(runs)}
        finished = sum(len(chunk) for name, chunk in chunks.items() if self._shards.done(name))
        done, total = (models * self.epochs for models in (finished, len(runs)))
        progress = Progress(f"validate: {title}", total, "epochs of a model", done=done)

        def compute(name: str) -> Vectors:
            return self.trained(kind, chunks[name], progress.advance)

        if self._cluster is None:
            self._shards.run(list(chunks), compute)
        else:
            with _written(chunks, self._shards.folder / "runs") as folder:
                job = self._cluster.job("tasks.validation.retrainer:trainer", progress, runs=str(folder), kind=kind)
                self._shards.run(list(chunks), compute, job)
        return [self._shards.read(name) for name in chunks]

    def _identity(self, workspace: Workspace) -> str:
        """Of all that decides what a training gives, but for the examples and the seed."""
        source = factory_source(self.parameters.train.factory)
        return fingerprint(
            self.parameters.model_dump(mode="json", include={"compute", "train"}),
            [self.epochs, self._retraining.together],
            [content_hash(path) for path in (workspace.encoding, workspace.split("train"))],
            content_hash(workspace.split("validation")),
            content_hash(source) if source else None,
            [version(PACKAGE), torch.__version__, self.device.type, torch.get_num_threads()],  # bits depend on these
        )


def _epochs(workspace: Workspace) -> int:
    epochs = read_json(workspace.model_metrics).get("best_epoch")
    if not isinstance(epochs, int) or epochs < 1:
        raise UserError(f"{workspace.model_metrics} says of no epoch whose weights were kept: rerun train")
    return epochs


def reader(split: Split, device: torch.device, memory: int) -> Read:
    """Reads examples by position: from tensors made once where a quarter of the memory holds them, else one by one."""
    inputs, _ = split.batch(slice(0, 1), device)
    if 4 * inputs.nbytes * len(split) > memory:
        return partial(split.batch, device=device)
    every, labels = split.batch(slice(None), device)
    return lambda positions: (every[positions], labels[positions])


def trainer(workspace: Workspace, parameters: Parameters, device: torch.device, runs: str, kind: Kind) -> Compute:
    """For `tasks.shard_worker`: trains the chunks of runs that lie in a folder."""
    splits = (load_split(workspace, "train"), load_split(workspace, "validation"))
    retrainer = Retrainer(workspace, parameters, *splits, device)
    return lambda name, advance: retrainer.trained(kind, _read_runs(shard_path(Path(runs), name)), advance)


@contextlib.contextmanager
def _written(chunks: Mapping[str, list[Run]], folder: Path) -> Iterator[Path]:
    """The chunks as files, for a while: the positions of half a large training set are nothing to send about."""
    for name, chunk in chunks.items():
        examples = torch.from_numpy(np.stack([run.examples for run in chunk]))
        write_tensors(shard_path(folder, name), {"examples": examples, "seeds": torch.tensor([r.seed for r in chunk])})
    try:
        yield folder.resolve()
    finally:
        shutil.rmtree(folder)


def _read_runs(path: Path) -> list[Run]:
    tensors, _ = read_tensors(path)
    members = zip(tensors["examples"].numpy(), tensors["seeds"].tolist(), strict=True)
    return [Run(examples, seed) for examples, seed in members]


def _name(kind: str, chunk: list[Run]) -> str:
    return f"{kind}-{fingerprint([[run.seed, np.asarray(run.examples).tolist()] for run in chunk])}"
