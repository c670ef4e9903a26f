"""What else a person should know of the data: repeated examples, outliers, classes and slices with many flags."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from scipy.stats import binomtest

from influence.detection import nearest_neighbours, outliers
from tasks.artifacts import read_table
from tasks.dataset import Split
from tasks.progress import Progress
from tasks.signals import Signals, load_predictions
from tasks.workspace import HeldOut, Workspace

KINDS = ("leak", "conflict", "outlier", "class", "slice")
Finding = dict[str, Any]  # a row of FINDINGS

MOST = 1000  # findings of a kind that are written
SIGNIFICANCE = 0.01  # over all classes and slices together (Bonferroni)


def find_others(
    workspace: Workspace, train: Split, signals: Signals, flagged: np.ndarray, device: torch.device
) -> list[Finding]:
    """All findings, kind by kind, the strongest first.

    Args:
        workspace: whose splits are compared.
        train: the training split.
        signals: of the training examples.
        flagged: positions of the flagged ones.
        device: that compares features.
    """
    return [
        *(row for split in ("validation", "test") for row in _leaks(workspace, train, signals, split, device)),
        *_conflicts(train, signals),
        *_outliers(train, signals),
        *_rates(workspace, train, flagged),
    ]


def _leaks(workspace: Workspace, train: Split, signals: Signals, split: HeldOut, device: torch.device) -> list[Finding]:
    """Held-out examples that nearly repeat a training example: their accuracy tells nothing of new data."""
    own = load_predictions(workspace, split, train)
    if not len(own.labels):
        return []
    progress = Progress(f"flag: {split} examples that repeat a training example", len(own.labels))
    features = torch.from_numpy(own.features).to(device)
    nearest = nearest_neighbours(signals.features, 1, features, on_batch=progress.advance)
    distance, other = nearest.distances[:, 0].cpu().numpy(), nearest.indices[:, 0].cpu().numpy()
    ids = own.table["example_id"].to_pylist()
    return [
        _finding(
            "leak",
            distance[row],
            f"this {split} example nearly repeats a training example",
            example_id=ids[row],
            other_id=train.ids[other[row]],
        )
        for row in _first(distance, distance < signals.radius)
    ]


def _conflicts(train: Split, signals: Signals) -> list[Finding]:
    """Training examples that nearly repeat each other and bear different labels, each pair once."""
    labels, classes = train.labels.numpy(), train.encoding.classes
    distances, indices = signals.neighbours.distances.cpu().numpy(), signals.neighbours.indices.cpu().numpy()
    conflicting = (distances < signals.radius) & (labels[indices] != labels[:, None])
    first = conflicting.argmax(axis=1)
    rows = np.arange(len(labels))
    distance, other = distances[rows, first], indices[rows, first]
    repeated = conflicting.any(axis=1)
    ids = np.array(train.ids)
    mutual = repeated[other] & (other[other] == rows)
    chosen = repeated & ~(mutual & (ids > ids[other]))  # of two that name each other, one speaks
    return [
        _finding(
            "conflict",
            distance[row],
            f"nearly the same example is {classes[labels[row]]!r} here and {classes[labels[other[row]]]!r} there",
            example_id=train.ids[row],
            other_id=train.ids[other[row]],
        )
        for row in _first(distance, chosen)
    ]


def _outliers(train: Split, signals: Signals) -> list[Finding]:
    distances = signals.neighbours.distances.cpu().numpy()
    mean = distances.mean(axis=1)
    return [
        _finding("outlier", mean[row], "lies far from every other training example", example_id=train.ids[row])
        for row in _first(-mean, outliers(distances))
    ]


def _rates(workspace: Workspace, train: Split, flagged: np.ndarray) -> list[Finding]:
    """Classes and slices of which more is flagged than chance explains."""
    is_flagged = np.zeros(len(train), dtype=bool)
    is_flagged[flagged] = True
    labels = [train.encoding.classes[label] for label in train.labels.tolist()]
    groups: list[tuple[str, str | None, list[str | None]]] = [("class", None, [*labels])]
    path = workspace.split("train")
    for column in [name for name in pq.read_schema(path).names if name.startswith("slice_")]:
        groups.append(("slice", column.removeprefix("slice_"), read_table(path, [column])[column].to_pylist()))
    counted = [
        (kind, name, value, total, found)
        for kind, name, values in groups
        for value, (total, found) in _counts(values, is_flagged).items()
    ]
    overall, rows = float(is_flagged.mean()), []
    for kind, name, value, total, found in counted:
        if 0 < overall < 1 and binomtest(found, total, overall, "greater").pvalue < SIGNIFICANCE / len(counted):
            group = value if name is None else f"{name} = {value}"
            words = f"{found:,} of {total:,} training examples are flagged, {found / total:.1%}; of all {overall:.1%}"
            rows.append(_finding(kind, found / total, words, group=group))
    return sorted(rows, key=lambda row: (KINDS.index(row["kind"]), -row["value"], row["group"]))


def _counts(values: list[str | None], flagged: np.ndarray) -> dict[str, tuple[int, int]]:
    named = ["missing" if value is None else value for value in values]
    total, found = Counter(named), Counter(value for value, chosen in zip(named, flagged, strict=True) if chosen)
    return {value: (total[value], found[value]) for value in sorted(total)}


def _first(keys: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Positions of the chosen ones in the order of their keys, as many as are written."""
    order = np.argsort(keys, kind="stable")
    return order[chosen[order]][:MOST]


def _finding(kind: str, value: float, words: str, **names: str) -> Finding:
    empty = {"example_id": None, "other_id": None, "group": None}
    return {**empty, "kind": kind, "value": float(value), "finding": words, **names}
