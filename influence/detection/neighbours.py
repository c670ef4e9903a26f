"""What labels an example's nearest neighbours bear, in the model's own feature space."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def neighbour_votes(
    features: Tensor,
    labels: Tensor,
    classes: int,
    neighbours: int,
    of: Tensor | None = None,
    rows: int = 1024,
    on_batch: Callable[[int], object] = lambda examples: None,
) -> Tensor:
    """Share of the nearest labelled examples that bears each label, by cosine similarity of centred features.

    Args:
        features: of the labelled examples, [N, D], N >= 2.
        labels: class indices, [N].
        classes: number of classes.
        neighbours: how many vote; at most N - 1 do.
        of: features of other examples to ask for, [M, D]; None: of the labelled ones, none voting for itself.
        rows: examples compared with all the labelled ones at once.
        on_batch: called with the number of examples answered for, after every batch.

    Returns:
        [M, classes] or [N, classes]; each row sums to 1.

    Raises:
        ValueError: there are fewer than two labelled examples.
    """
    if len(features) < 2:
        raise ValueError("an example needs at least one other to be its neighbour")
    used, centre = min(neighbours, len(features) - 1), features.mean(dim=0)
    directions = F.normalize(features - centre, dim=1)
    asked = directions if of is None else F.normalize(of - centre, dim=1)
    one_hot = F.one_hot(labels, classes).to(features.dtype)
    shares = []
    for start in range(0, len(asked), rows):
        similarity = asked[start : start + rows] @ directions.T
        if of is None:
            own = torch.arange(start, start + len(similarity), device=features.device)
            similarity[own - start, own] = -torch.inf
        shares.append(one_hot[similarity.topk(used, dim=1).indices].mean(dim=1))
        on_batch(len(similarity))
    return torch.cat(shares)


def disagreement(votes: Tensor, labels: Tensor) -> Tensor:
    """Share of the neighbours whose label is not the example's own, [N]."""
    return 1.0 - votes.gather(1, labels.unsqueeze(1)).squeeze(1)
