"""The files of a gradient index: Arrow, uncompressed, so that they are mapped into memory and not read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from influence.scores import Compressed
from tasks.artifacts import atomic_write
from tasks.errors import UserError

AGAIN = "build it again with `influence index`"


@dataclass(frozen=True)
class IndexShard:
    """A part of the index, mapped into memory.

    Attributes:
        ids: example_id of its training examples, [B].
        labels: theirs.
        predicted: what the model says of them.
        values: of `influence.scores.Compressed`, [B, K].
        scales: the same, float32 [B].
    """

    ids: pa.Array
    labels: pa.Array
    predicted: pa.Array
    values: np.ndarray
    scales: np.ndarray

    def blocks(self, size: int) -> Iterator[Compressed]:
        """The rows in order, copied into ordinary memory so many at a time."""
        for start in range(0, len(self.ids), size):
            part = slice(start, start + size)
            yield Compressed(torch.from_numpy(self.values[part].copy()), torch.from_numpy(self.scales[part].copy()))


def write_index_shard(
    path: Path, ids: list[str], labels: list[str], predicted: list[str], coordinates: Compressed
) -> None:
    """Write one shard: columns example_id, label, predicted, scale and values, a list of fixed length."""
    values = coordinates.values.cpu().numpy()
    columns = {
        "example_id": pa.array(ids, pa.string()),
        "label": pa.array(labels, pa.string()),
        "predicted": pa.array(predicted, pa.string()),
        "scale": pa.array(coordinates.scales.cpu().numpy().astype(np.float32)),
        "values": pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1]),
    }
    batch = pa.record_batch(columns)

    def write(temporary: Path) -> None:
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)

    atomic_write(path, write)


def read_index_shard(path: Path) -> IndexShard:
    """Map one shard into memory.

    Raises:
        UserError: the file is missing, or is not such a shard.
    """
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        values = batch["values"]
        numbers = values.flatten().to_numpy(zero_copy_only=True).reshape(len(values), values.type.list_size)
        scales = batch["scale"].to_numpy(zero_copy_only=True)
        return IndexShard(batch["example_id"], batch["label"], batch["predicted"], numbers, scales)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {AGAIN}") from None
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): {AGAIN}") from None
