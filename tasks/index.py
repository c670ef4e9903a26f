"""The gradient index of a preconditioned model: built once, so that a new query is a product of matrices."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from influence.memory import gradient_batch
from influence.scores import Compressed, LeadingCoordinates, Pairwise, TwoSidedTop, recall
from tasks.artifacts import content_hash, fingerprint, write_json
from tasks.cluster import cluster_of
from tasks.content import content_shards
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.index_search import search
from tasks.index_shards import read_index_shard, write_index_shard
from tasks.models import factory_source
from tasks.parameters import Parameters
from tasks.precondition import query_gradients
from tasks.problem import load_ekfac, load_gradients, model_identity
from tasks.progress import Progress
from tasks.score import load_queries
from tasks.shard_worker import Advance
from tasks.shards import Shards
from tasks.solver import factors_of
from tasks.stage import Work, exclusive, main
from tasks.tensors import read_metadata
from tasks.workspace import Workspace

TOP = 100  # helpful and harmful training examples of a query of which the recall is told
MOST_QUERIES = 64  # of the run's, on which it is measured: each costs every shard its exact top
TYPES = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Index:
    """What index/index.json says of the index.

    Attributes:
        model: see `frozen_model`.
        training_set: sha256 of data/prepared/train.parquet.
        examples: n.
        coordinates: K, kept of each example's gradient, of as many as `parameters`.
        share: expected share of the squared length of a gradient that they hold.
        precision: type of a coordinate.
        bytes_per_example: on disk, with id and labels.
        shards: rows of every file, by its name without `.arrow`.
        damping: added to the curvature, in absolute units.
        curvature: that the index inverts, EK-FAC or K-FAC.
        queries: of the run, on which the recall was measured.
        recall: share of the exact top 100 that the index finds, the mean over helpful and harmful and all queries:
            of the scores by this curvature, and of the run's own, which its solver made.
    """

    model: str
    training_set: str
    examples: int
    coordinates: int
    parameters: int
    share: float
    precision: str
    bytes_per_example: int
    shards: dict[str, int]
    damping: float
    curvature: str
    queries: int
    recall: dict[str, float]


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Build the index, shard by shard: what is there of the same model and rows stays.

    Raises:
        UserError: a stage has not run yet.
    """
    settings = parameters.index
    train = load_split(workspace, "train")
    parts = _parts(train, parameters)
    identity = model_identity(workspace, parameters, [workspace.factors, workspace.queries])
    shards = Shards(workspace.work, "index", fingerprint(identity, settings.coordinates, settings.precision))
    kept = [name for name in parts if shards.done(name) and _is_sound(workspace, name, shards.read(name))]
    shards.keep(kept)
    workspace.index.unlink(missing_ok=True)  # a half-built index is none
    with (
        device_slot(parameters.compute.device, workspace.work) as device,
        deterministic(),
        cluster_of(workspace, parameters, device) as cluster,
    ):
        builder = Builder(workspace, parameters, train, device)
        progress = Progress("index", len(train), done=sum(len(parts[name]) for name in kept))
        job = cluster.job("tasks.index:builder", progress) if cluster else None
        shards.run(list(parts), lambda name: builder(name, progress.advance), job)
        for path in workspace.index.parent.glob("*.arrow"):
            if path.stem not in parts:
                path.unlink()
        index = builder.measured(shards.read)
    write_json(workspace.index, asdict(index))
    print(f"index: {described(index)}", flush=True)
    return Work(len(train), str(device))


def described(index: Index) -> str:
    """One sentence for a person."""
    found = " and ".join(f"{share:.1%} of the top {TOP} by {of}" for of, share in index.recall.items())
    return (
        f"{index.coordinates:,} of {index.parameters:,} coordinates as {index.precision}, "
        f"{index.bytes_per_example:,} bytes an example; it finds {found} ({index.queries:,} queries)"
    )


def frozen_model(workspace: Workspace, parameters: Parameters) -> str:
    """A short name for what must not change while an index is used: the model, its weights, its curvature.

    Raises:
        UserError: a stage has not run yet.
    """
    train, source = parameters.train, factory_source(parameters.train.factory)
    return fingerprint(
        [train.factory, json.dumps(train.arguments, sort_keys=True), train.weight_decay],
        content_hash(source) if source else None,
        [content_hash(path) for path in (workspace.weights, workspace.encoding, workspace.factors)],
    )


class Builder:
    """Makes shards, and says what the whole is worth.

    Args:
        workspace: in which precondition has run.
        parameters: of the index, too.
        train: the training split.
        device: where to compute.
    """

    def __init__(self, workspace: Workspace, parameters: Parameters, train: Split, device: torch.device) -> None:
        self.workspace, self.parameters, self.train = workspace, parameters, train
        self.parts = _parts(train, parameters)
        self.gradients = load_gradients(workspace, parameters, train, device)
        ekfac, self.damping = load_ekfac(workspace, self.gradients)
        shift = self.damping + parameters.train.weight_decay
        self.coordinates = LeadingCoordinates(ekfac, shift, parameters.index.coordinates)
        self.dtype, self.k = TYPES[parameters.index.precision], min(TOP, len(train))
        solved = read_metadata(workspace.factors)
        self.curvature = factors_of(solved["curvature"])
        asked = load_queries(workspace, device)
        validation = load_split(workspace, "validation")
        places = {example_id: place for place, example_id in enumerate(validation.ids)}
        chosen = np.unique(np.linspace(0, len(asked.ids) - 1, MOST_QUERIES).round().astype(np.int64))
        inputs, targets = validation.batch(np.array([places[asked.ids[place]] for place in chosen]), device)
        self.asked = self.gradients.read(inputs, targets=targets)
        right = query_gradients(self.gradients, inputs, targets)
        inverted = ekfac.power(right, -1.0, shift)
        self.exact = {self.curvature: Pairwise(self.gradients, inverted, len(train))}
        if solved["curvature"] != self.curvature:
            solutions = {name: value[torch.from_numpy(chosen)] for name, value in asked.solutions.items()}
            self.exact[solved["solver"]] = Pairwise(self.gradients, solutions, len(train))
        self.batch = gradient_batch(self.gradients.problem, inputs[:2], parameters.compute.memory_bytes)

    def __call__(self, name: str, advance: Advance) -> dict[str, Tensor]:
        """Write one shard, and return its hash and the exact top of its rows for the run's queries, by their places."""
        members, classes = self.parts[name], self.train.encoding.classes
        tops = {of: TwoSidedTop(len(self.asked.outputs), self.k) for of in self.exact}
        parts, predicted = [], []
        for start in range(0, len(members), self.batch):
            inputs, targets = self.train.batch(members[start : start + self.batch], self.gradients.problem.device)
            readings = self.gradients.read(inputs, targets=targets)
            parts.append(Compressed.of(self.coordinates.of(readings), self.dtype))
            predicted += [classes[place] for place in readings.outputs.argmax(dim=1).tolist()]
            for of, pairwise in self.exact.items():
                tops[of].update(pairwise.from_readings(readings), torch.arange(start, start + len(targets)))
            advance(len(targets))
        write_index_shard(
            self.workspace.index_shard(name),
            [self.train.ids[place] for place in members],
            [classes[place] for place in self.train.labels[torch.from_numpy(members)].tolist()],
            predicted,
            Compressed(torch.cat([part.values for part in parts]), torch.cat([part.scales for part in parts])),
        )
        kept = {f"{of}/{key}": value for of, top in tops.items() for key, value in top.state().items()}
        return {**kept, "file": torch.from_numpy(_digest(self.workspace, name))}

    def measured(self, kept: Callable[[str], dict[str, Tensor]]) -> Index:
        """What the finished index is, and what it finds again of the exact top, whose parts the shards have kept."""
        paths = [self.workspace.index_shard(name) for name in self.parts]
        shards = (read_index_shard(path) for path in paths)
        memory = self.parameters.compute.memory_bytes
        x, offsets = self.coordinates.of(self.asked), self.coordinates.offset(self.asked)
        found = search(shards, x, offsets, len(self.train), self.k, memory)
        sizes = {name: len(rows) for name, rows in self.parts.items()}
        return Index(
            model=frozen_model(self.workspace, self.parameters),
            training_set=content_hash(self.workspace.split("train")),
            examples=len(self.train),
            coordinates=self.coordinates.size,
            parameters=self.gradients.problem.parameter_count,
            share=round(self.coordinates.share, 4),
            precision=self.parameters.index.precision,
            bytes_per_example=round(sum(path.stat().st_size for path in paths) / len(self.train)),
            shards=sizes,
            damping=self.damping,
            curvature=self.curvature,
            queries=len(x),
            recall={of: round(_recall(found, self._joined(kept, of)), 4) for of in self.exact},
        )

    def _joined(self, kept: Callable[[str], dict[str, Tensor]], of: str) -> TwoSidedTop:
        """The exact top of the whole training set, by places in the index."""
        joined, start = TwoSidedTop(len(self.asked.outputs), self.k), 0
        for name, members in self.parts.items():
            state = {key.removeprefix(f"{of}/"): value for key, value in kept(name).items() if key.startswith(f"{of}/")}
            joined.merge(TwoSidedTop.from_state(self.k, state, torch.arange(start, start + len(members))))
            start += len(members)
        return joined


def builder(workspace: Workspace, parameters: Parameters, device: torch.device) -> Builder:
    """For `tasks.shard_worker`: makes the shards of the index."""
    return Builder(workspace, parameters, load_split(workspace, "train"), device)


def _parts(train: Split, parameters: Parameters) -> dict[str, np.ndarray]:
    return content_shards(train, min(parameters.index.shards, len(train)))


def _recall(found: TwoSidedTop, exact: TwoSidedTop) -> float:
    tails = [(found.helpful()[0], exact.helpful()[0]), (found.harmful()[0], exact.harmful()[0])]
    return float(torch.cat([recall(*tail) for tail in tails]).mean())


def _digest(workspace: Workspace, name: str) -> np.ndarray:
    """sha256 of a shard's file, uint8 [32]."""
    return np.frombuffer(bytes.fromhex(content_hash(workspace.index_shard(name))), np.uint8).copy()


def _is_sound(workspace: Workspace, name: str, kept: dict[str, Tensor]) -> bool:
    """Whether a shard's file is there as it was written."""
    return workspace.index_shard(name).is_file() and bool((_digest(workspace, name) == kept["file"].numpy()).all())


def build(workspace: Workspace, parameters: Parameters) -> None:
    """As `run`, while no other process builds it."""
    with exclusive(workspace.work / "index.lock", "index"):
        run(workspace, parameters)


if __name__ == "__main__":
    main("index", run)
