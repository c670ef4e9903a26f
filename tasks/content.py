"""What rows hold, as hashes. Work on rows is kept under them: whoever changes a row does the work on its shard anew."""

import hashlib

import numpy as np
import scipy.sparse

from tasks.dataset import Split
from tasks.draws import draws


def content_key(split: Split, rows: np.ndarray | None = None, labelled: bool = True) -> str:
    """A short hash of the stored inputs of these rows, in this order, and of their labels; of all rows by default.

    It says nothing of how inputs are encoded and of what the labels are called: encoding.json does.
    """
    rows = np.arange(len(split)) if rows is None else rows
    inputs = split.inputs[rows]
    if isinstance(inputs, scipy.sparse.csr_matrix):
        arrays = [np.asarray(part) for part in (inputs.indptr, inputs.indices, inputs.data)]
    else:
        arrays = [inputs]
    if labelled:
        arrays.append(split.labels.numpy()[rows])
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{list(array.shape)}\0".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:16]


def content_shards(split: Split, count: int) -> dict[str, np.ndarray]:
    """At most so many shards, {name: positions, ascending}; a name holds the hash of what its rows hold.

    An id alone decides a row's shard. To relabel, add or remove a row renames its own shard and no other.
    """
    places = (draws("shard", 0, split.ids) % np.uint64(count)).astype(np.int64)
    members = {int(place): np.flatnonzero(places == place) for place in np.unique(places)}
    return {f"{place:04d}-{content_key(split, rows)}": rows for place, rows in members.items()}
