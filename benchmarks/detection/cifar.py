"""CIFAR-10, and the labels that people gave to its pictures a second time (CIFAR-10N, Wei et al. 2022)."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tasks.artifacts import TRUTH, read_table, write_table
from tasks.sources import Examples
from tasks.workspace import Workspace

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


def take_human_labels(workspace: Workspace, labels: Path, column: str) -> None:
    """Put a person's label in the place of every training example's true one, and note where they differ.

    Args:
        workspace: as prepare has left it.
        labels: labels.parquet of CIFAR-10N.
        column: whose labels.
    """
    given = pq.read_table(labels, columns=["index", column])
    by_id = dict(zip(map(str, given["index"].to_pylist()), map(str, given[column].to_pylist()), strict=True))
    path = workspace.split("train")
    table = read_table(path)
    ids, true = table["example_id"].to_pylist(), table["label"].to_pylist()
    human = pa.array([by_id[example_id] for example_id in ids], pa.string())
    for name in ("label", "given_label"):
        table = table.set_column(table.schema.get_field_index(name), name, human)
    write_table(path, table, table.schema)
    planted = [one != other for one, other in zip(human.to_pylist(), true, strict=True)]
    write_table(workspace.truth, pa.table({"example_id": ids, "true_label": true, "planted": planted}), TRUTH)
