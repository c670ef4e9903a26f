"""One example solved for as a query: where every explanation of a prediction starts."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from influence.memory import gradient_batch
from influence.scores import Pairwise
from tasks.artifacts import read_table
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.parameters import Parameters
from tasks.precondition import query_gradients
from tasks.problem import load_gradients
from tasks.progress import Progress
from tasks.solver import load_solver
from tasks.workspace import SPLITS, SplitName, Workspace


@dataclass(frozen=True)
class SolvedQuery:
    """A query, its inverse-Hessian-vector product, and the training set that it is to be scored against.

    Attributes:
        split: that holds the query.
        own: label, predicted, loss and probabilities of the query, as model/predictions.parquet has them.
        inputs: of the query, as the model sees it, [1, *shape].
        train: the training split.
        predicted: what the model says of every training example, in the order of `train`.
        damping: added to the curvature, in absolute units.
        residual: relative residual at which the solution was accepted.
        pairwise: scores training examples against the query.
        memory: bytes for one batch of intermediate results.
    """

    split: SplitName
    own: dict[str, Any]
    inputs: Tensor
    train: Split
    predicted: list[str]
    damping: float
    residual: float
    pairwise: Pairwise
    memory: int

    def scores(self, command: str) -> Iterator[Tensor]:
        """Influence of the training examples in nats, in order, batch by batch, [B], telling the progress."""
        device = self.pairwise.gradients.problem.device
        size = gradient_batch(self.pairwise.gradients.problem, self.inputs, self.memory)
        progress = Progress(command, len(self.train))
        for inputs, targets in self.train.batches(size, device):
            yield self.pairwise.batch(inputs, targets)[0]
            progress.advance(len(targets))


@contextlib.contextmanager
def solved_query(
    workspace: Workspace, parameters: Parameters, query_id: str, command: str = "explain"
) -> Iterator[SolvedQuery]:
    """Solve for one example of any split to the tolerance of the pipeline, and hold the device while it is used.

    Raises:
        UserError: no split holds the example, or a stage has not run yet, or not since data were prepared anew.
    """
    split_name, position = find_example(workspace, query_id)
    train, split = load_split(workspace, "train"), load_split(workspace, split_name)
    predictions = read_table(
        workspace.predictions, ["example_id", "split", "label", "predicted", "loss", "probabilities"]
    )
    own, predicted = _row(predictions, split_name, query_id), _predicted(predictions)
    if own is None or predicted.keys() != set(train.ids):
        raise UserError(
            f"{workspace.predictions} is not of the examples in {workspace.split('train').parent}: "
            "rerun train and precondition"
        )
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        gradients = load_gradients(workspace, parameters, train, device)
        solver = load_solver(workspace, gradients, train, parameters)
        inputs, targets = split.batch(slice(position, position + 1), device)
        print(f"{command}: solving for {query_id}", flush=True)
        solution = solver.solve(query_gradients(gradients, inputs, targets))
        yield SolvedQuery(
            split=split_name,
            own=own,
            inputs=inputs,
            train=train,
            predicted=[predicted[example_id] for example_id in train.ids],
            damping=solver.damping,
            residual=float(solution.certificate.relative_residual[0]),
            pairwise=Pairwise(gradients, solution.vectors, len(train)),
            memory=parameters.compute.memory_bytes,
        )


def find_example(workspace: Workspace, example_id: str) -> tuple[SplitName, int]:
    """The split that holds an example, and its position there.

    Raises:
        UserError: none does.
    """
    for name in SPLITS:
        ids = read_table(workspace.split(name), ["example_id"])["example_id"].to_pylist()
        if example_id in ids:
            return name, ids.index(example_id)
    raise UserError(
        f"no example has the id {example_id!r}: ids are in the column example_id of the files in "
        f"{workspace.split('test').parent}"
    )


def _predicted(predictions: pa.Table) -> dict[str, str]:
    """What the model says of every training example, by id."""
    table = predictions.filter(pc.equal(predictions["split"], "train"))
    return dict(zip(table["example_id"].to_pylist(), table["predicted"].to_pylist(), strict=True))


def _row(predictions: pa.Table, split: str, example_id: str) -> dict[str, Any] | None:
    of_split, of_example = pc.equal(predictions["split"], split), pc.equal(predictions["example_id"], example_id)
    found = predictions.filter(pc.and_(of_split, of_example)).to_pylist()
    return found[0] if found else None
