"""New queries answered at a frozen model, by its gradient index: no training input is read."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa

from influence.layers import PerExampleGradients
from influence.memory import gradient_batch
from influence.scores import LeadingCoordinates
from tasks.artifacts import ANSWERS, SCORES, content_hash, provenance, read_json, write_table
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.index import Index, frozen_model
from tasks.index_search import search
from tasks.index_shards import AGAIN, IndexShard, read_index_shard
from tasks.new_examples import read_new
from tasks.parameters import Parameters
from tasks.problem import load_ekfac, load_gradients
from tasks.progress import Progress
from tasks.query import find_example
from tasks.reporting.explanation import Neighbour, file_stem
from tasks.score import TAILS
from tasks.workspace import Workspace

SEARCHED = 64  # queries that are searched for in one pass over the index


@dataclass(frozen=True)
class Answer:
    """What influenced one query, as the index has it; attributes as of `tasks.reporting.explanation.Explanation`."""

    query_id: str
    split: str
    label: str
    predicted: str
    loss: float
    helpful: list[Neighbour]
    harmful: list[Neighbour]


@dataclass(frozen=True)
class Answers:
    """Of all queries asked together.

    Attributes:
        answers: one a query, in order.
        index: that gave them.
        seconds: that all of them took, the model and the index being open.
        table: Parquet file in which they are.
        outdated: whether the training set is no longer the one of the index.
    """

    answers: list[Answer]
    index: Index
    seconds: float
    table: Path
    outdated: bool


def explain_frozen(workspace: Workspace, parameters: Parameters, asked: str, k: int = 10) -> Answers:
    """Answer queries by the index, and write them to explain/frozen-*.parquet.

    Args:
        asked: an example_id of any split, or the path of a file or folder of new examples.
        k: how many helpful and how many harmful training examples to tell.

    Raises:
        UserError: there is no such example, no index, or the model is no longer that of the index.
    """
    index = open_index(workspace, parameters)
    queries, origin = _queries(workspace, parameters, asked)
    shards = [_shard(workspace, index, name) for name in index.shards]
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        gradients = load_gradients(workspace, parameters, load_split(workspace, "validation"), device)
        ekfac, damping = load_ekfac(workspace, gradients)
        coordinates = LeadingCoordinates(ekfac, damping + parameters.train.weight_decay, index.coordinates)
        memory, start = parameters.compute.memory_bytes, time.monotonic()
        answers = list(_answers(queries, origin, gradients, coordinates, index, shards, k, memory))
        seconds = time.monotonic() - start
    table = workspace.root / "explain" / f"frozen-{file_stem(asked)}.parquet"
    _write_answers(workspace, table, answers, index, k)
    outdated = content_hash(workspace.split("train")) != index.training_set
    return Answers(answers, index, seconds, table, outdated)


def open_index(workspace: Workspace, parameters: Parameters) -> Index:
    """What index/index.json says, if it is of the model in the workspace.

    Raises:
        UserError: there is none, or it is of another.
    """
    if not workspace.index.exists():
        raise UserError(
            f"{workspace.index} is missing: build the index with `influence index` (one that was killed goes on)"
        )
    index = Index(**read_json(workspace.index))
    if index.model != frozen_model(workspace, parameters):
        raise UserError(
            f"{workspace.index.parent} was built for other weights, another curvature or another encoding than the "
            "workspace holds now: build it again with `influence index`"
        )
    return index


def _shard(workspace: Workspace, index: Index, name: str) -> IndexShard:
    path = workspace.index_shard(name)
    shard = read_index_shard(path)
    if shard.values.shape != (index.shards[name], index.coordinates):
        raise UserError(f"{path} is not of the index that {workspace.index} describes: {AGAIN}")
    return shard


def _queries(workspace: Workspace, parameters: Parameters, asked: str) -> tuple[Split, str]:
    """The queries that are meant, and the split that holds them, or `new`."""
    path = Path(asked)
    if path.exists():
        return read_new(workspace, parameters, path), "new"
    try:
        name, position = find_example(workspace, asked)
    except UserError as error:
        raise UserError(f"{error}; nor is there a file {asked!r}") from None
    return load_split(workspace, name).subset(np.array([position])), name


def _answers(
    queries: Split,
    origin: str,
    gradients: PerExampleGradients,
    coordinates: LeadingCoordinates,
    index: Index,
    shards: list[IndexShard],
    k: int,
    memory: int,
) -> Iterator[Answer]:
    device, objective = gradients.problem.device, gradients.problem.objective
    starts = np.array(list(accumulate((len(shard.ids) for shard in shards), initial=0)))
    probe, _ = queries.batch(slice(0, 1), device)
    size = min(SEARCHED, gradient_batch(gradients.problem, probe, memory))
    classes, progress = queries.encoding.classes, Progress("explain --frozen-model", len(queries), "queries")

    def neighbours(places: list[int], values: list[float]) -> list[Neighbour]:
        found = []
        for place, value in zip(places, values, strict=True):
            if place >= 0:
                at = int(np.searchsorted(starts, place, side="right")) - 1
                shard, row = shards[at], place - int(starts[at])
                example_id, label, own = (part[row].as_py() for part in (shard.ids, shard.labels, shard.predicted))
                found.append(Neighbour(example_id, label, own, value))
        return found

    for first in range(0, len(queries), size):
        inputs, targets = queries.batch(slice(first, first + size), device)
        readings = gradients.read(inputs, targets=targets)
        losses = objective.loss(readings.outputs, targets).tolist()
        predicted = readings.outputs.argmax(dim=1).tolist()
        x, offsets = coordinates.of(readings), coordinates.offset(readings)
        top = search(shards, x, offsets, index.examples, k, memory)
        tails = [(indices.tolist(), values.tolist()) for indices, values in (top.helpful(), top.harmful())]
        for row, loss in enumerate(losses):
            yield Answer(
                query_id=queries.ids[first + row],
                split=origin,
                label=classes[int(targets[row])],
                predicted=classes[predicted[row]],
                loss=loss,
                helpful=neighbours(tails[0][0][row], tails[0][1][row]),
                harmful=neighbours(tails[1][0][row], tails[1][1][row]),
            )
        progress.advance(len(losses))


def _write_answers(workspace: Workspace, path: Path, answers: list[Answer], index: Index, k: int) -> None:
    rows = [
        {
            "query_id": answer.query_id,
            "model": index.model,
            "split": answer.split,
            "label": answer.label,
            "predicted": answer.predicted,
            "loss": answer.loss,
            "example_id": neighbour.example_id,
            "influence": neighbour.influence,
            "tail": tail,
            "rank": rank,
        }
        for answer in answers
        for tail, found in zip(TAILS, (answer.helpful, answer.harmful), strict=True)
        for rank, neighbour in enumerate(found, start=1)
    ]
    meaning = {
        "meaning": "predicted rise of the query's loss if the example were left out of training",
        "sign": "positive: helpful; negative: harmful",
        "unit": "nats",
        "n": index.examples,
        "damping": index.damping,
        "frozen_model": {
            "model": index.model,
            "note": "weights, curvature and training set are those of the index; its scores are approximate",
            "curvature": f"{index.curvature}, inverted in its eigenbasis",
            "coordinates": index.coordinates,
            "precision": index.precision,
            "recall": index.recall,
        },
    }
    made = provenance("explain --frozen-model", {"k": k}, [workspace.index])
    write_table(path, pa.Table.from_pylist(rows, ANSWERS), ANSWERS, {**made, SCORES: meaning})
