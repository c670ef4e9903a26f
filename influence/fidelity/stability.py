"""Whether another seed of the training would have given the same lists."""

import torch
from torch import Tensor

from influence.fidelity.ranks import spearman


def top_overlap(first: Tensor, second: Tensor, k: int) -> Tensor:
    """Share of the k largest of one that are among the k largest of the other, [Q].

    Two rankings at random share k / N.

    Args:
        first: scores of N examples for Q queries, [Q, N].
        second: the same, from another training.
        k: length of the lists.

    Raises:
        ValueError: the shapes differ, or there are fewer than k examples.
    """
    if first.shape != second.shape or not 0 < k <= first.shape[-1]:
        raise ValueError(f"top {k} of {list(first.shape)} and {list(second.shape)} cannot be compared")
    members = [torch.zeros_like(scores, dtype=torch.bool) for scores in (first, second)]
    for member, scores in zip(members, (first, second), strict=True):
        member.scatter_(-1, scores.topk(k).indices, True)
    return (members[0] & members[1]).sum(dim=-1) / k


def rank_stability(first: Tensor, second: Tensor, k: int) -> Tensor:
    """Rank correlation of two scores over the examples that are in the first or the second list of k, [Q].

    Most of a training set has hardly any influence and is ranked by noise; the ends of the lists are what is read.

    Raises: see `top_overlap`.
    """
    top_overlap(first, second, k)
    found = []
    for one, other in zip(first, second, strict=True):
        union = torch.cat([one.topk(k).indices, other.topk(k).indices]).unique()
        found.append(spearman(one[union], other[union]) if len(union) > 1 else torch.ones((), dtype=torch.float64))
    return torch.stack(found)
