"""The model trained again on parts of its training set, the way it was trained first.

As many epochs as made the weights that were kept, the same plan of learning rates, and no look at the validation
examples, since the queries are among those.
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn

from influence.objective import SoftmaxCrossEntropy
from influence.retraining import Retraining, Run, stacked_outputs
from influence.retraining.descent import Read
from influence.vectors import Vectors
from tasks.artifacts import PACKAGE, content_hash, fingerprint, read_json
from tasks.dataset import Split
from tasks.determinism import derived_seed
from tasks.errors import UserError
from tasks.fitting import recipe
from tasks.models import build, factory_source
from tasks.parameters import Parameters
from tasks.predict import LARGEST_BATCH
from tasks.progress import Progress
from tasks.shards import Shards
from tasks.workspace import Workspace

SEEDS = 6  # purpose of random numbers


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

    Raises:
        UserError: model/metrics.json does not say which epoch made the model.
    """

    def __init__(
        self, workspace: Workspace, parameters: Parameters, train: Split, validation: Split, device: torch.device
    ) -> None:
        self.parameters, self.train, self.validation, self.device = parameters, train, validation, device
        self.epochs = _epochs(workspace)
        self.objective = SoftmaxCrossEntropy(parameters.train.weight_decay)
        memory = parameters.compute.memory_bytes
        read = reader(self.train, self.device, memory)
        self._retraining = Retraining(self.start, self.objective, recipe(parameters.train), read, memory)
        self._shards = Shards(workspace.work, "validate", self._identity(workspace))

    def start(self, seed: int) -> nn.Module:
        """The model where the training of this seed starts."""
        return build(self.parameters.train, self.train.encoding, seed).to(self.device)

    def seeds(self, count: int) -> list[int]:
        """Seeds of the run's trainings; none is that of the model itself."""
        return [derived_seed(self.parameters.seed, SEEDS, index) for index in range(count)]

    def losses(self, runs: list[Run], title: str) -> Tensor:
        """Loss of every validation example on every model trained, nats, [K, V]."""

        def evaluate(states: Vectors) -> Vectors:
            model, parts = self.start(0), []
            for inputs, targets in self.validation.batches(LARGEST_BATCH, self.device):
                outputs = stacked_outputs(model, self.objective, states, inputs)
                parts.append(torch.stack([self.objective.loss(row, targets) for row in outputs]))
            return {"losses": torch.cat(parts, dim=1)}

        return torch.cat([kept["losses"] for kept in self._kept(runs, title, "losses", evaluate)]).double()

    def models(self, runs: list[Run], title: str) -> list[nn.Module]:
        """The models trained, in evaluation mode."""
        found = []
        for states in self._kept(runs, title, "model", lambda states: states):
            for index in range(len(next(iter(states.values())))):
                model = self.start(0)
                model.load_state_dict({name: value[index] for name, value in states.items()})
                found.append(model.eval())
        return found

    def _kept(self, runs: list[Run], title: str, kind: str, keep: Callable[[Vectors], Vectors]) -> list[Vectors]:
        chunks = {_name(kind, chunk): chunk for chunk in self._retraining.chunks(runs)}
        finished = sum(len(chunk) for name, chunk in chunks.items() if self._shards.done(name))
        done, total = (models * self.epochs for models in (finished, len(runs)))
        progress = Progress(f"validate: {title}", total, "epochs of a model", done=done)

        def compute(name: str) -> Vectors:
            chunk = chunks[name]
            return keep(self._retraining.train(chunk, self.epochs, lambda epoch: progress.advance(len(chunk))))

        self._shards.run(list(chunks), compute)
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


def _name(kind: str, chunk: list[Run]) -> str:
    return f"{kind}-{fingerprint([[run.seed, np.asarray(run.examples).tolist()] for run in chunk])}"
