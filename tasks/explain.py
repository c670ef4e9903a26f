"""The training examples that helped and that harmed one prediction."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch

from influence.memory import gradient_batch
from influence.scores import Pairwise, TwoSidedTop
from tasks.artifacts import read_table
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.parameters import Parameters
from tasks.precondition import Solver, curvature_examples, query_gradients
from tasks.problem import load_ekfac, load_gradients
from tasks.progress import Progress
from tasks.reporting.explanation import Explanation, Neighbour
from tasks.workspace import SPLITS, SplitName, Workspace


def explain(workspace: Workspace, parameters: Parameters, query_id: str, k: int = 10) -> Explanation:
    """Solve for one example of any split as the query, to the tolerance of the pipeline, and score the training set.

    Args:
        query_id: an example_id.
        k: how many helpful and how many harmful training examples to tell.

    Raises:
        UserError: no split holds the example, or a stage has not run yet, or not since data were prepared anew.
    """
    split_name, position = _find(workspace, query_id)
    train, split = load_split(workspace, "train"), load_split(workspace, split_name)
    predictions = read_table(workspace.predictions, ["example_id", "split", "label", "predicted", "loss"])
    predicted, own = _predicted(predictions, "train"), _row(predictions, split_name, query_id)
    if own is None or predicted.keys() != set(train.ids):
        raise UserError(
            f"{workspace.predictions} is not of the examples in {workspace.split('train').parent}: "
            "rerun train and precondition"
        )
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        gradients = load_gradients(workspace, parameters, train, device)
        ekfac, _ = load_ekfac(workspace, gradients)
        solver = Solver(ekfac, curvature_examples(train, parameters.precondition, parameters.seed), parameters)
        right = query_gradients(gradients, *split.batch(slice(position, position + 1), device))
        print(f"explain: solving for {query_id}", flush=True)
        solution = solver.solve(right)
        top = _score(train, Pairwise(gradients, solution.vectors, len(train)), k, parameters.compute.memory_bytes)

    def neighbours(indices: list[int], values: list[float]) -> list[Neighbour]:
        return [
            Neighbour(train.ids[i], train.encoding.classes[int(train.labels[i])], predicted[train.ids[i]], value)
            for i, value in zip(indices, values, strict=True)
            if i >= 0
        ]

    return Explanation(
        query_id=query_id,
        split=split_name,
        label=own["label"],
        predicted=own["predicted"],
        loss=own["loss"],
        damping=solver.damping,
        residual=float(solution.certificate.relative_residual[0]),
        helpful=neighbours(*(tensor[0].tolist() for tensor in top.helpful())),
        harmful=neighbours(*(tensor[0].tolist() for tensor in top.harmful())),
    )


def _find(workspace: Workspace, query_id: str) -> tuple[SplitName, int]:
    for name in SPLITS:
        ids = read_table(workspace.split(name), ["example_id"])["example_id"].to_pylist()
        if query_id in ids:
            return name, ids.index(query_id)
    raise UserError(
        f"no example has the id {query_id!r}: ids are in the column example_id of the files in "
        f"{workspace.split('test').parent}"
    )


def _score(train: Split, pairwise: Pairwise, k: int, memory: int) -> TwoSidedTop:
    device = pairwise.gradients.problem.device
    probe, _ = train.batch(slice(0, 1), device)
    size = gradient_batch(pairwise.gradients.problem, probe, memory)
    top, start = TwoSidedTop(1, k), 0
    progress = Progress("explain", len(train))
    for inputs, targets in train.batches(size, device):
        top.update(pairwise.batch(inputs, targets), torch.arange(start, start + len(targets)))
        start += len(targets)
        progress.advance(len(targets))
    return top


def _predicted(predictions: pa.Table, split: str) -> dict[str, str]:
    """What the model says of every example of a split, by id."""
    table = predictions.filter(pc.equal(predictions["split"], split))
    return dict(zip(table["example_id"].to_pylist(), table["predicted"].to_pylist(), strict=True))


def _row(predictions: pa.Table, split: str, example_id: str) -> dict[str, Any] | None:
    of_split, of_example = pc.equal(predictions["split"], split), pc.equal(predictions["example_id"], example_id)
    found = predictions.filter(pc.and_(of_split, of_example)).to_pylist()
    return found[0] if found else None
