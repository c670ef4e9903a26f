"""What every training example does to itself and to the validation errors, and which matter most to every query."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from influence.memory import gradient_batch
from influence.scores import Pairwise, SelfInfluence, TwoSidedTop
from influence.scores.output_layer import OutputLayerLeaveOneOut, find_output_layer
from tasks.artifacts import (
    SCORES,
    SELF_INFLUENCE,
    TOP,
    fingerprint,
    provenance,
    read_json,
    write_table,
)
from tasks.cluster import cluster_of
from tasks.content import content_shards
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.parameters import Parameters
from tasks.precondition import ERRORS
from tasks.problem import load_ekfac, load_gradients, model_identity
from tasks.progress import Progress
from tasks.shard_worker import Advance
from tasks.shards import Shards
from tasks.solver import factors_of
from tasks.stage import Work, main
from tasks.tensors import read_tensors
from tasks.workspace import Workspace

TAILS = ("helpful", "harmful")
MOST_CLASSES = 100  # above it, one system of as many unknowns an example costs too much


@dataclass(frozen=True)
class Queries:
    """The solved queries: ids [Q], s_q {name: [Q, *shape]}, relative residual [Q]; and s of all errors together."""

    ids: list[str]
    solutions: dict[str, Tensor]
    residual: Tensor
    errors: dict[str, Tensor]


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Score the training set, shard by shard."""
    train = load_split(workspace, "train")
    identity = model_identity(workspace, parameters, [workspace.factors, workspace.queries])
    shards = Shards(workspace.work, "score", fingerprint(identity, len(train), parameters.score.model_dump()))
    with (
        device_slot(parameters.compute.device, workspace.work) as device,
        deterministic(),
        cluster_of(workspace, parameters, device) as cluster,
    ):
        scorer = Scorer(workspace, parameters, train, device)
        parts = scorer.parts
        finished = sum(len(part) for name, part in parts.items() if shards.done(name))
        progress = Progress("score", len(train), done=finished)
        job = cluster.job("tasks.score:scorer", progress) if cluster else None
        shards.run(list(parts), lambda name: scorer(name, progress.advance), job)
    found = {name: (parts[name], shards.read(name)) for name in parts}
    _write(workspace, parameters, train, scorer.queries, scorer.layer, found)
    shards.keep(parts)
    return Work(len(train), str(device))


class Scorer:
    """Computes shards of the scores.

    Args:
        workspace: of the run.
        parameters: of the run.
        train: the training split, or other rows to be scored as training examples.
        device: where to compute.
        examples: n, the size of the training set; None: that of `train`.

    Attributes:
        parts: positions of every shard's examples, by its name.
        queries: the solved queries.
        layer: the output layer of which Newton's step is taken; None where there is none, or of too many classes.
    """

    def __init__(
        self,
        workspace: Workspace,
        parameters: Parameters,
        train: Split,
        device: torch.device,
        examples: int | None = None,
    ) -> None:
        self.parts = content_shards(train, min(parameters.score.shards, len(train)))
        self.queries = load_queries(workspace, device)
        self._train, self._device, self._k = train, device, parameters.score.k
        self._gradients = load_gradients(workspace, parameters, train, device)
        ekfac, damping = load_ekfac(workspace, self._gradients)
        shift, count = damping + parameters.train.weight_decay, examples or len(train)
        self._pairwise = Pairwise(self._gradients, self.queries.solutions, count)
        self._on_errors = Pairwise(self._gradients, self.queries.errors, count)
        self._own = SelfInfluence(ekfac, shift, count)
        probe, _ = train.batch(slice(0, 2), device)
        few = len(train.encoding.classes) <= MOST_CLASSES
        self.layer = find_output_layer(self._gradients, probe) if few else None
        self._without = OutputLayerLeaveOneOut(ekfac, self.layer, shift, count) if self.layer else None
        self._size = gradient_batch(self._gradients.problem, probe, parameters.compute.memory_bytes)

    def __call__(self, name: str, advance: Advance) -> dict[str, Tensor]:
        """The top scores of a shard's examples, and columns of scores/self.parquet, [3, B]."""
        members = self.parts[name]
        top, columns = TwoSidedTop(len(self.queries.ids), self._k), []
        for start in range(0, len(members), self._size):
            batch = members[start : start + self._size]
            inputs, targets = self._train.batch(batch, self._device)
            readings = self._gradients.read(inputs, targets=targets)
            on_itself = self._own.from_readings(readings)
            if self._without is not None:
                left_out = self._without.from_readings(readings, targets)
            else:
                left_out = self._gradients.problem.objective.loss(readings.outputs, targets) + on_itself
            columns.append(torch.stack([on_itself, self._on_errors.from_readings(readings)[0], left_out]).cpu())
            top.update(self._pairwise.from_readings(readings), torch.arange(start, start + len(batch)))
            advance(len(batch))
        return {**top.state(), "own": torch.cat(columns, dim=1)}


def scorer(workspace: Workspace, parameters: Parameters, device: torch.device) -> Scorer:
    """For `tasks.shard_worker`: computes the shards of the scores."""
    return Scorer(workspace, parameters, load_split(workspace, "train"), device)


def load_queries(workspace: Workspace, device: torch.device) -> Queries:
    tensors, metadata = read_tensors(workspace.queries)

    def under(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value.to(device) for name, value in tensors.items() if name.startswith(prefix)
        }

    return Queries(
        json.loads(metadata["query_ids"]), under("solutions/"), tensors["relative_residual"], under(f"{ERRORS}/")
    )


def top_columns(query_ids: list[str], train_ids: list[str], top: TwoSidedTop) -> dict[str, list[object]]:
    """The kept scores as columns of scores/top.parquet, query by query, helpful before harmful."""
    columns: dict[str, list[object]] = {name: [] for name in TOP.names}
    tails = {"helpful": top.helpful(), "harmful": top.harmful()}
    for row, query_id in enumerate(query_ids):
        for tail in TAILS:
            indices, values = tails[tail][0][row].tolist(), tails[tail][1][row].tolist()
            for rank, (index, value) in enumerate(zip(indices, values, strict=True), start=1):
                if index >= 0:
                    for name, item in zip(TOP.names, (query_id, train_ids[index], value, tail, rank), strict=True):
                        columns[name].append(item)
    return columns


def _write(
    workspace: Workspace,
    parameters: Parameters,
    train: Split,
    queries: Queries,
    layer: str | None,
    parts: dict[str, tuple[np.ndarray, dict[str, Tensor]]],
) -> None:
    report = read_json(workspace.curvature_report)
    inputs = [workspace.split("train"), workspace.weights, workspace.factors, workspace.queries]
    inputs += [workspace.validation_metrics] if workspace.validation_metrics.exists() else []
    metadata = provenance("score", parameters.model_dump(mode="json", include={"score", "compute"}), inputs)
    common = {"unit": "nats", "n": len(train), "damping": report["damping"], "trust": _trust(workspace)}
    own = {
        **common,
        "meaning": "predicted rise of the example's own loss if it were left out of training",
        "curvature": factors_of(report["curvature"]),
        "influence_on_errors": "predicted rise of the summed loss of all misread validation examples",
        "leave_one_out_loss": f"the example's loss after one Newton step of layer {layer!r} without it"
        if layer
        else "to first order: the example's loss plus its self-influence",
    }
    names = SELF_INFLUENCE.names[1:]
    scores = np.empty((len(names), len(train)), np.float32)
    top = TwoSidedTop(len(queries.ids), parameters.score.k)
    for members, part in parts.values():
        scores[:, members] = part["own"].numpy()
        top.merge(TwoSidedTop.from_state(parameters.score.k, part, torch.from_numpy(members)))
    table = pa.table({"example_id": train.ids, **dict(zip(names, scores, strict=True))})
    write_table(workspace.self_influence, table, SELF_INFLUENCE, {**metadata, SCORES: own})

    pairwise = {
        **common,
        "meaning": "predicted rise of the query's loss if the example were left out of training",
        "sign": "positive: helpful; negative: harmful",
        "solver": report["solver"],
        "relative_residual": dict(zip(queries.ids, queries.residual.tolist(), strict=True)),
    }
    columns = top_columns(queries.ids, train.ids, top)
    write_table(workspace.top, pa.table(columns), TOP, {**metadata, SCORES: pairwise})


def _trust(workspace: Workspace) -> dict[str, Any] | None:
    """What `validate` said of scores by this curvature; None in a graph without that stage."""
    if not workspace.validation_metrics.exists():
        return None
    found = read_json(workspace.validation_metrics)
    return {"verdict": found["verdict"], "warnings": found["warnings"]}


if __name__ == "__main__":
    main("score", run)
