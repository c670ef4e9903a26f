"""What the scores and two simple baselines say of every training example, for the queries of the run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from torch import Tensor

from influence.layers import PerExampleGradients, Readings, as_vectors
from influence.memory import gradient_batch
from influence.scores import Pairwise
from tasks.artifacts import read_table
from tasks.dataset import Split
from tasks.errors import UserError
from tasks.progress import Progress
from tasks.score import Queries
from tasks.validation.names import GRADIENT, INFLUENCE, SIMILARITY
from tasks.workspace import SplitName, Workspace


@dataclass(frozen=True)
class Batch:
    """Training examples from `start` on, and their gradients."""

    start: int
    labels: Tensor
    readings: Readings


Method = Callable[[Batch], Tensor]  # -> [Q, B]; positive: held to be helpful


class Methods:
    """Scores every training example for every query by every method, batch by batch.

    `similarity` is the cosine of the features of a training example and a query, negative where their labels differ.

    Args:
        workspace: holds the features.
        gradients: of the trained model.
        queries: the solved queries, all of the validation split.
        train: the training split.
        validation: the validation split.
        memory: bytes for one batch of intermediate results.

    Raises:
        UserError: the predictions are of other splits.
    """

    def __init__(
        self,
        workspace: Workspace,
        gradients: PerExampleGradients,
        queries: Queries,
        train: Split,
        validation: Split,
        memory: int,
    ) -> None:
        self.gradients, self.train, self.queries = gradients, train, queries
        device = gradients.problem.device
        self.positions = query_positions(queries, validation)
        self.inputs, self.targets = validation.batch(self.positions, device)
        self._size = gradient_batch(gradients.problem, self.inputs[:1], memory)
        influence = Pairwise(gradients, queries.solutions, len(train))
        own = as_vectors(gradients, gradients.read(self.inputs, targets=self.targets))
        product = Pairwise(gradients, own, len(train))
        rows = F.normalize(_features(workspace, "train", train).to(device), dim=1)
        of_queries = F.normalize(_features(workspace, "validation", validation)[self.positions].to(device), dim=1)

        def similarity(batch: Batch) -> Tensor:
            same = self.targets.unsqueeze(1) == batch.labels
            cosines = of_queries @ rows[batch.start : batch.start + len(batch.labels)].T
            return torch.where(same, cosines, -cosines)

        self._methods: dict[str, Method] = {
            INFLUENCE: lambda batch: influence.from_readings(batch.readings),
            GRADIENT: lambda batch: product.from_readings(batch.readings),
            SIMILARITY: similarity,
        }

    def batches(self) -> Iterator[tuple[slice, dict[str, Tensor]]]:
        """Positions of training examples, and what each method says of them, [Q, B]."""
        progress = Progress("validate: scores", len(self.train))
        for start in range(0, len(self.train), self._size):
            part = slice(start, min(start + self._size, len(self.train)))
            inputs, labels = self.train.batch(part, self.gradients.problem.device)
            batch = Batch(start, labels, self.gradients.read(inputs, targets=labels))
            yield part, {name: method(batch) for name, method in self._methods.items()}
            progress.advance(len(labels))

    def left_out(self, sets: Tensor) -> dict[str, Tensor]:
        """Sums over sets of examples to leave out, bool [M, N]: the rise that each method predicts, [Q, M]."""
        sums = dict.fromkeys(self._methods, torch.zeros(()))
        for part, scores in self.batches():
            members = sets[:, part].to(self.inputs.device)
            for name, found in scores.items():
                sums[name] = sums[name] + (found @ members.T.to(found.dtype))
        return {name: total.double().cpu() for name, total in sums.items()}


def query_positions(queries: Queries, validation: Split) -> np.ndarray:
    """Positions of the queries in the validation split.

    Raises:
        UserError: one is not there.
    """
    index = {example_id: position for position, example_id in enumerate(validation.ids)}
    if missing := [query for query in queries.ids if query not in index]:
        raise UserError(f"query {missing[0]!r} is not in the validation split: rerun precondition")
    return np.array([index[query] for query in queries.ids])


def _features(workspace: Workspace, name: SplitName, split: Split) -> Tensor:
    """[N, D], in the order of the split."""
    table = read_table(workspace.predictions, ["example_id", "split", "features"])
    table = table.filter(pc.equal(table["split"], name))
    if table["example_id"].to_pylist() != split.ids:
        raise UserError(f"{workspace.predictions} is not of the examples of {name}: rerun train")
    values = np.concatenate([chunk.flatten().to_numpy() for chunk in table["features"].chunks])
    return torch.from_numpy(values.reshape(len(split), -1))
