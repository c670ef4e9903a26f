"""What is gained when the planted errors among the first examples of an order are mended: the model trained again.

Every order is treated alike: the same recipe, as many epochs as made the run's weights, the same seeds.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from influence.objective import SoftmaxCrossEntropy
from influence.retraining import Retraining, Run
from influence.retraining.descent import Positions
from influence.vectors import Vectors
from tasks.artifacts import content_hash, fingerprint, read_json, read_table
from tasks.code import code_identity
from tasks.dataset import load_split
from tasks.determinism import derived_seed, deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.fitting import recipe
from tasks.models import build, factory_source
from tasks.parameters import Parameters
from tasks.predict import LARGEST_BATCH, evaluate
from tasks.progress import Progress
from tasks.shards import Shards
from tasks.validation.retrainer import reader
from tasks.workspace import Workspace

SEEDS = 11  # purpose of random numbers
TRAININGS = 3  # of each set of labels, from other starts
ORDERS = {"loss": "loss", "self_influence": "self_influence"}  # beside the flags: column of flags/signals.parquet


class Mending:
    """The training set as it was before any verdict, what a detector says of it, and the truth.

    Args:
        workspace: after a run without verdicts.
        parameters: of that run.

    Raises:
        UserError: nothing was trained, or an artifact is missing.

    Attributes:
        ids: of the training examples, [N].
        planted: bool [N].
        orders: positions of the training examples, most suspect first, by what ranks them.
    """

    def __init__(self, workspace: Workspace, parameters: Parameters) -> None:
        self.workspace, self.parameters = workspace, parameters
        self.train, self.test = load_split(workspace, "train"), load_split(workspace, "test")
        self.ids = self.train.ids
        truth = read_table(workspace.truth)
        true = dict(zip(truth["example_id"].to_pylist(), truth["true_label"].to_pylist(), strict=True))
        index = {label: place for place, label in enumerate(self.train.encoding.classes)}
        self.true = torch.tensor([index[true[example_id]] for example_id in self.ids])
        self.planted = (self.true != self.train.labels).numpy()
        self.orders = _orders(workspace, self.ids)
        self.epochs = read_json(workspace.model_metrics)["best_epoch"]
        if not self.epochs:
            raise UserError("the weights were given, and the training that made them is not known: nothing to repeat")

    def random(self, seed: int) -> np.ndarray:
        """An order that knows nothing."""
        return np.random.default_rng([self.parameters.seed, SEEDS, seed]).permutation(len(self.ids))

    def accuracies(self, plans: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """Mean test accuracy of the models trained with some labels mended, [K].

        What was trained is kept in .work/oracle, and a killed measurement goes on there.

        Args:
            plans: K times, for each of `TRAININGS` trainings, the examples that get their true labels, bool [N].
        """
        count = len(self.ids)
        runs = [
            Run(np.where(mended, count, 0) + np.arange(count), derived_seed(self.parameters.seed, SEEDS, number))
            for plan in plans
            for number, mended in zip(range(TRAININGS), plan, strict=True)
        ]
        with device_slot(self.parameters.compute.device, self.workspace.work) as device, deterministic():
            return self._train(runs, device).reshape(len(plans), TRAININGS).mean(axis=1)

    def _train(self, runs: list[Run], device: torch.device) -> np.ndarray:
        train, memory = self.parameters.train, self.parameters.compute.memory_bytes
        objective = SoftmaxCrossEntropy(train.weight_decay)
        read_one = reader(self.train, device, memory)
        labels = torch.cat([self.train.labels, self.true]).to(device)

        def start(seed: int) -> nn.Module:
            return build(train, self.train.encoding, seed).to(device)

        def read(positions: Positions) -> tuple[Tensor, Tensor]:
            """Every example stands there twice: with its given label, and N places on with its true one."""
            inputs, _ = read_one(positions % len(self.ids))
            return inputs, labels[torch.from_numpy(positions).to(device)]

        retraining = Retraining(start, objective, recipe(train), read, memory)
        chunks = retraining.chunks(runs)
        names = [fingerprint([[run.seed, run.examples.tolist()] for run in chunk]) for chunk in chunks]
        named = dict(zip(names, chunks, strict=True))  # the same training is asked for more than once
        shards = Shards(self.workspace.work, "oracle", self._identity(device, retraining.together))
        sizes = {name: self.epochs * len(chunk) for name, chunk in named.items()}
        done = sum(size for name, size in sizes.items() if shards.done(name))
        progress = Progress("oracle: training", sum(sizes.values()), "epochs of a model", done=done)

        def compute(name: str) -> Vectors:
            chunk = named[name]
            states = retraining.train(chunk, self.epochs, lambda epoch: progress.advance(len(chunk)))
            model, found = start(0), []
            for row in range(len(chunk)):
                model.load_state_dict({key: value[row] for key, value in states.items()})
                found.append(evaluate(model, self.test, objective, LARGEST_BATCH).accuracy)
            return {"accuracy": torch.tensor(found, dtype=torch.float64)}

        shards.run(list(named), compute)
        return torch.cat([shards.read(name)["accuracy"] for name in names]).numpy()

    def _identity(self, device: torch.device, together: int) -> str:
        """Of all that decides what a training gives, but for the examples and the seed."""
        source = factory_source(self.parameters.train.factory)
        return fingerprint(
            self.parameters.model_dump(mode="json", include={"compute", "train", "prepare", "seed"}),
            [self.epochs, together, content_hash(self.workspace.truth), content_hash(self.workspace.split("test"))],
            content_hash(source) if source else None,
            [*code_identity(), device.type, torch.get_num_threads()],  # bits depend on these
        )


def _orders(workspace: Workspace, ids: list[str]) -> dict[str, np.ndarray]:
    signals = read_table(workspace.signals)
    place = {example_id: position for position, example_id in enumerate(ids)}
    positions = np.array([place[example_id] for example_id in signals["example_id"].to_pylist()])
    names = np.array(signals["example_id"].to_pylist())
    suspicion = {name: signals[column].to_numpy() for name, column in ORDERS.items()}
    ranked = {name: positions[np.lexsort((names, -values))] for name, values in suspicion.items()}
    return {"flags": positions[np.argsort(signals["rank"].to_numpy())], **ranked}
