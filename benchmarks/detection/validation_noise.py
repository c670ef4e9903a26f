"""Validation labels as wrong as the training labels: what people have who checked neither."""

from typing import Any

import pyarrow as pa

from tasks.artifacts import read_table, write_table
from tasks.corruption import corrupt
from tasks.dataset import load_split
from tasks.parameters import Corruption
from tasks.workspace import SplitName, Workspace


def plant(workspace: Workspace, corruption: Corruption, seed: int) -> None:
    """Change validation labels by the same kind and share of errors as prepare has planted in the training set."""
    validation = load_split(workspace, "validation")
    classes = validation.encoding.classes
    labels = [classes[label] for label in validation.labels.tolist()]
    inputs: Any = validation.inputs if corruption.kind == "feature" else None
    given, _ = corrupt(validation.ids, labels, classes, corruption.share, seed, corruption.kind, inputs)
    put_labels(workspace, "validation", given)


def put_labels(workspace: Workspace, split: SplitName, labels: list[str]) -> None:
    """Put other labels in the place of those that a prepared split bears, in its order."""
    path = workspace.split(split)
    table = read_table(path)
    for name in ("label", "given_label"):
        column = pa.array(labels, pa.string())
        table = table.set_column(table.schema.get_field_index(name), name, column)
    write_table(path, table, table.schema)
