"""Queries against the files of a gradient index, a bounded block of rows at a time."""

from collections.abc import Iterable

import torch
from torch import Tensor

from influence.scores import TwoSidedTop
from tasks.index_shards import IndexShard


def search(
    shards: Iterable[IndexShard], queries: Tensor, offsets: Tensor, examples: int, k: int, memory: int
) -> TwoSidedTop:
    """The most helpful and harmful training examples of every query, by their places in the index.

    Args:
        shards: in order.
        queries: coordinates of the Q queries, [Q, K]; see `influence.scores.LeadingCoordinates`.
        offsets: what regularisation adds to their scores, [Q].
        examples: n, of the training set.
        k: how many of each tail.
        memory: bytes for one block of rows and its scores.
    """
    queries, offsets = queries.float().cpu(), offsets.float().cpu()
    size = max(1, memory // (8 * (queries.shape[1] + 4 * len(queries))))
    top, start = TwoSidedTop(len(queries), k), 0
    for shard in shards:
        for block in shard.blocks(size):
            scores = block.scores(queries, offsets, examples)
            top.update(scores, torch.arange(start, start + scores.shape[1]))
            start += scores.shape[1]
    return top
