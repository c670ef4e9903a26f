"""CIFAR-10, and the labels that people gave to its pictures a second time (CIFAR-10N, Wei et al. 2022)."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.detection.validation_noise import put_labels
from tasks.artifacts import TRUTH, read_table, write_table
from tasks.sources import Examples
from tasks.workspace import SplitName, Workspace

SEED = 0  # of the subset, the same for all seeds of the benchmark


def some(path: Path, examples: int) -> Examples:
    """That many pictures of the training file, drawn at random, with their true labels.

    Args:
        path: train.parquet, with columns index, label and image.
        examples: how many.
    """
    table = pq.read_table(path, columns=["index", "label", "image"])
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(table))[:examples])
    table = table.take(pa.array(chosen))
    pictures = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in table["image"].to_pylist()]
    return Examples(
        labels=[str(label) for label in table["label"].to_pylist()],
        inputs=np.stack(pictures).transpose(0, 3, 1, 2),
        ids=[str(index) for index in table["index"].to_pylist()],
    )


def take_human_labels(workspace: Workspace, labels: Path, column: str, splits: Sequence[SplitName]) -> None:
    """Put a person's label in the place of every example's true one, and note where they differ in training.

    Args:
        workspace: as prepare has left it.
        labels: labels.parquet of CIFAR-10N.
        column: whose labels.
        splits: whose examples; training among them.
    """
    given = pq.read_table(labels, columns=["index", column])
    by_id = dict(zip(map(str, given["index"].to_pylist()), map(str, given[column].to_pylist()), strict=True))
    for name in splits:
        table = read_table(workspace.split(name))
        ids, true = table["example_id"].to_pylist(), table["label"].to_pylist()
        human = [by_id[example_id] for example_id in ids]
        put_labels(workspace, name, human)
        if name == "train":
            planted = [one != other for one, other in zip(human, true, strict=True)]
            write_table(workspace.truth, pa.table({"example_id": ids, "true_label": true, "planted": planted}), TRUTH)
