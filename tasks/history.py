"""What every run left behind for the next to be compared with: history/<run>.parquet, a file a run.

The folder is no output of DVC's: it holds what was seen here in the order in which it was seen, which nothing can make
anew.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.artifacts import HISTORY, provenance, read_table, write_table
from tasks.errors import UserError
from tasks.reviews import queue, store
from tasks.reviews.applying import APPLIED
from tasks.run_identity import run_identity
from tasks.workspace import SPLITS, Workspace

METADATA = b"influence.history"
KEPT = 50  # runs
SLICE = "slice_"
SMALLEST = 20  # training examples a slice must have
MOST = 50  # values of a slice that are followed, the most frequent ones
NAME = re.compile(r"[0-9a-f]{16}\.parquet")


@dataclass(frozen=True)
class Group:
    """The training examples that came with one label (`column` is None) or that have one value of a slice.

    Attributes:
        expected_errors: sum of the error probabilities of all of them, flagged or not, but for those that are judged.
        found_wrong: labels that a review has mended.
    """

    column: str | None
    value: str
    examples: int
    flagged: int
    expected_errors: float
    found_wrong: int = 0  # not in records of older versions

    @property
    def key(self) -> tuple[str | None, str]:
        return self.column, self.value

    @property
    def name(self) -> str:
        """The class, or the slice as `column = value`."""
        return self.value if self.column is None else f"{self.column} = {self.value}"

    @property
    def rate(self) -> float:
        """Share of the labels that came wrong, found or expected: to mend some does not change it."""
        return min(1.0, (self.expected_errors + self.found_wrong) / self.examples)


@dataclass(frozen=True)
class Run:
    """One run in numbers.

    Attributes:
        identity: see `tasks.run_identity`.
        time: when it was first seen here, in UTC.
        accuracy: by split.
        groups: classes, then slices.
        verdicts: how many of each kind prepare had applied.
    """

    identity: str
    time: datetime
    accuracy: dict[str, float]
    groups: list[Group]
    verdicts: dict[str, int]


def record(workspace: Workspace, now: datetime | None = None) -> Run:
    """Write down the last run, unless it is there already with the same content, and forget all but the last 50.

    Args:
        now: the time, in UTC; None: that of the clock.

    Raises:
        UserError: an artifact is missing or damaged.
    """
    identity = run_identity(workspace)
    path = _path(workspace, identity)
    applied = _applied(workspace)
    judged = _judged(workspace) | applied.keys()
    wrong = {example_id for example_id, verdict in applied.items() if verdict != "keep"}
    table, groups = _examples(workspace, judged), _groups(workspace, judged, wrong)
    verdicts = dict(sorted(Counter(applied.values()).items()))
    run = Run(identity, now or datetime.now(UTC), _accuracy(workspace), groups, verdicts)
    if path.exists():
        known = _read_run(path)
        if _without_time(known) == _without_time(run) and read_examples(workspace, identity).equals(table):
            return known
    origin = provenance("report", {}, [Path("flags/flags.parquet"), Path("flags/signals.parquet")], workspace.root)
    write_table(path, table, HISTORY, {**origin, METADATA: {**asdict(run), "time": run.time.isoformat()}})
    for old in runs(workspace)[:-KEPT]:
        _path(workspace, old.identity).unlink(missing_ok=True)
    return run


def runs(workspace: Workspace) -> list[Run]:
    """All runs there is a record of, the oldest first.

    Raises:
        UserError: a record is damaged.
    """
    if not workspace.history.exists():
        return []
    found = [_read_run(path) for path in workspace.history.iterdir() if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda run: (run.time, run.identity))


def read_examples(workspace: Workspace, identity: str) -> pa.Table:
    """The training and test examples of a run, in the schema HISTORY.

    Raises:
        UserError: there is no record of it, or it is damaged.
    """
    return read_table(_path(workspace, identity)).replace_schema_metadata()


def _path(workspace: Workspace, identity: str) -> Path:
    return workspace.history / f"{identity}.parquet"


def _read_run(path: Path) -> Run:
    try:
        said: dict[str, Any] = json.loads(pq.read_schema(path).metadata[METADATA])
        groups = [Group(**group) for group in said.pop("groups")]
        return Run(**{**said, "time": datetime.fromisoformat(said["time"]), "groups": groups})
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no record of a run ({error}): delete it") from None


def _without_time(run: Run) -> dict[str, Any]:
    return {**asdict(run), "time": None}


def _judged(workspace: Workspace) -> set[str]:
    """Flagged examples whose label a review has settled."""
    if not store.read(workspace):
        return set()  # to build the queue for nothing takes seconds where there are many flags
    return {item.example_id for item in queue.build(workspace) if item.kind == "label" and item.state == "settled"}


def _examples(workspace: Workspace, judged: Set[str]) -> pa.Table:
    flags = read_table(workspace.flags, ["example_id", "suggested_label"])
    suggested = dict(zip(flags["example_id"].to_pylist(), flags["suggested_label"].to_pylist(), strict=True))
    training = read_table(workspace.split("train"), ["example_id", "label"])
    ids = training["example_id"].to_pylist()
    trained = {
        "example_id": ids,
        "split": ["train"] * len(ids),
        "label": training["label"],
        "correct": pa.nulls(len(ids), pa.bool_()),
        "flagged": [name in suggested for name in ids],
        "judged": [name in judged for name in ids],
        "suggested_label": [suggested.get(name) for name in ids],
    }
    predictions = read_table(workspace.predictions, ["example_id", "split", "label", "predicted"])
    test = predictions.filter(pc.equal(predictions["split"], "test"))
    tested = {
        "example_id": test["example_id"],
        "split": test["split"],
        "label": test["label"],
        "correct": pc.equal(test["label"], test["predicted"]),
        "flagged": [False] * len(test),
        "judged": [False] * len(test),
        "suggested_label": pa.nulls(len(test), pa.string()),
    }
    return pa.concat_tables([pa.table(columns).cast(HISTORY) for columns in (trained, tested)]).combine_chunks()


def _accuracy(workspace: Workspace) -> dict[str, float]:
    predictions = read_table(workspace.predictions, ["split", "label", "predicted"])
    splits = np.array(predictions["split"].to_pylist())
    right = pc.equal(predictions["label"], predictions["predicted"]).to_numpy()
    return {split: float(right[splits == split].mean()) for split in SPLITS if (splits == split).any()}


def _groups(workspace: Workspace, judged: Set[str], wrong: Set[str]) -> list[Group]:
    """Every class, and of every slice the most frequent values that are large enough to have a rate.

    Args:
        workspace: after a run.
        judged: ids of the examples whose label somebody has answered for.
        wrong: those of them whose label was wrong.
    """
    signals = read_table(workspace.signals, ["example_id", "error_probability"])
    probability = dict(zip(signals["example_id"].to_pylist(), signals["error_probability"].to_pylist(), strict=True))
    flagged = set(read_table(workspace.flags, ["example_id"])["example_id"].to_pylist())
    path = workspace.split("train")
    slices = [name for name in pq.read_schema(path).names if name.startswith(SLICE)]
    training = read_table(path, ["example_id", "given_label", *slices])
    ids = training["example_id"].to_pylist()

    def count(name: str | None, column: str, smallest: int, most: int | None) -> list[Group]:
        values = ["missing" if value is None else value for value in training[column].to_pylist()]
        total, suspect, found, errors = Counter(values), Counter[str](), Counter[str](), defaultdict[str, float](float)
        for example_id, value in zip(ids, values, strict=True):
            suspect[value] += example_id in flagged
            found[value] += example_id in wrong
            errors[value] += 0.0 if example_id in judged else probability[example_id]
        chosen = sorted((value for value in total if total[value] >= smallest), key=lambda v: (-total[v], v))[:most]
        return [Group(name, v, total[v], suspect[v], errors[v], found[v]) for v in sorted(chosen)]

    groups = count(None, "given_label", 1, None)
    for column in slices:
        groups += count(column.removeprefix(SLICE), column, SMALLEST, MOST)
    return groups


def _applied(workspace: Workspace) -> dict[str, str]:
    """What prepare applied, by example."""
    rows = read_table(workspace.applied_verdicts, ["example_id", "verdict", "outcome"]).to_pylist()
    return {row["example_id"]: row["verdict"] for row in rows if row["outcome"] == APPLIED}
