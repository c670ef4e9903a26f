"""A prepared split in memory: ids, labels, and inputs that become float tensors batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse
import torch
from torch import Tensor

from tasks.artifacts import SPARSE, Encoding, read_json, read_table
from tasks.errors import UserError
from tasks.workspace import SplitName, Workspace


@dataclass(frozen=True)
class Split:
    """One prepared split, with inputs as stored: uint8 images, float32 rows, or sparse rows.

    Attributes:
        ids: example_id of every example, [N].
        labels: class indices, int64 [N].
        inputs: uint8 [N, C, H, W], float32 [N, D], or a sparse matrix [N, D].
        encoding: how they were encoded.
    """

    ids: list[str]
    labels: Tensor
    inputs: np.ndarray | scipy.sparse.csr_matrix
    encoding: Encoding

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: np.ndarray | slice, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Inputs as the model sees them, float32 [B, *shape], and labels [B]."""
        rows = self.inputs[indices]
        if isinstance(rows, scipy.sparse.csr_matrix):
            dense = torch.from_numpy(rows.toarray())
        elif rows.dtype == np.uint8:
            mean, std = (torch.tensor(self.encoding.details[key]).view(-1, 1, 1) for key in ("mean", "std"))
            dense = (torch.from_numpy(np.array(rows)).float() / 255.0 - mean) / std
        else:
            dense = torch.from_numpy(np.array(rows))
        labels = self.labels[torch.from_numpy(indices)] if isinstance(indices, np.ndarray) else self.labels[indices]
        return dense.to(device), labels.to(device)

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        """All examples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size), device)

    def subset(self, indices: np.ndarray) -> "Split":
        return Split(
            [self.ids[i] for i in indices],
            self.labels[torch.from_numpy(indices)],
            self.inputs[indices],
            self.encoding,
        )


def load_encoding(workspace: Workspace) -> Encoding:
    raw = read_json(workspace.encoding)
    return Encoding(raw["kind"], raw["classes"], tuple(raw["shape"]), raw["details"])


def load_split(workspace: Workspace, name: SplitName) -> Split:
    """Read data/prepared/<name>.parquet.

    Raises:
        UserError: the file is missing, or is not of prepare's schema.
    """
    encoding = load_encoding(workspace)
    path = workspace.split(name)
    table = read_table(path, columns=["example_id", "input", "label"])
    index = {label: position for position, label in enumerate(encoding.classes)}
    labels = torch.tensor([index[label] for label in table["label"].to_pylist()], dtype=torch.int64)
    return Split(table["example_id"].to_pylist(), labels, stored_inputs(table["input"], encoding, path), encoding)


def stored_inputs(
    column: pa.ChunkedArray | pa.Array, encoding: Encoding, path: Path
) -> np.ndarray | scipy.sparse.csr_matrix:
    """A column `input` as an array; `path` is where it lies, for the message.

    Raises:
        UserError: the column is not of a type that prepare writes.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array.type, pa.FixedShapeTensorType):
        return array.to_numpy_ndarray() if len(array) else np.empty((0, *array.type.shape), np.float32)
    if array.type == SPARSE:
        indices, values = array.field("indices"), array.field("values")
        offsets = indices.offsets.to_numpy()
        data = (values.flatten().to_numpy(), indices.flatten().to_numpy(), offsets - offsets[0])
        return scipy.sparse.csr_matrix(data, shape=(len(array), encoding.shape[0]))
    raise UserError(f"{path}: column input has type {array.type}, which prepare does not write: rerun prepare")
