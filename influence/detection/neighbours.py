"""Which labelled examples lie nearest in the model's own feature space, and what labels they bear."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 2**26  # similarities at once: 256 MiB in float32, however many examples there are
MOST_ROWS = 1024


@dataclass(frozen=True)
class Neighbours:
    """The nearest labelled examples of each of M examples, the nearest first.

    Attributes:
        indices: positions among the labelled examples, [M, K].
        distances: between directions of unit length, sqrt(2 - 2 cosine), [M, K].
    """

    indices: Tensor
    distances: Tensor

    def votes(self, labels: Tensor, classes: int) -> Tensor:
        """Share of the neighbours that bears each label, [M, classes]; each row sums to 1.

        Args:
            labels: class indices of the labelled examples, [N].
            classes: number of classes.
        """
        shares = torch.zeros(len(self.indices), classes, device=self.indices.device)
        ones = torch.ones(self.indices.shape, device=self.indices.device)
        return shares.scatter_add_(1, labels[self.indices], ones) / self.indices.shape[1]


def nearest_neighbours(
    features: Tensor,
    neighbours: int,
    of: Tensor | None = None,
    rows: int | None = None,
    on_batch: Callable[[int], object] = lambda examples: None,
) -> Neighbours:
    """By cosine similarity of centred features.

    Args:
        features: of the labelled examples, [N, D], N >= 2.
        neighbours: how many are wanted; at most N - 1 are found.
        of: features of other examples to ask for, [M, D]; None: of the labelled ones, none its own neighbour.
        rows: examples compared with all the labelled ones at once; None: as many as keep the memory flat.
        on_batch: called with the number of examples answered for, after every batch.

    Raises:
        ValueError: there are fewer than two labelled examples.
    """
    if len(features) < 2:
        raise ValueError("an example needs at least one other to be its neighbour")
    used, centre = min(neighbours, len(features) - 1), features.mean(dim=0)
    directions = F.normalize(features - centre, dim=1)
    asked = directions if of is None else F.normalize(of - centre, dim=1)
    rows = rows or max(1, min(MOST_ROWS, BLOCK // len(features)))
    indices, similarities = [], []
    for start in range(0, len(asked), rows):
        similarity = asked[start : start + rows] @ directions.T
        if of is None:
            own = torch.arange(start, start + len(similarity), device=features.device)
            similarity[own - start, own] = -torch.inf
        found = similarity.topk(used, dim=1)
        indices.append(found.indices)
        similarities.append(found.values)
        on_batch(len(similarity))
        del similarity  # or it is held while the next is made
    return Neighbours(torch.cat(indices), (2.0 - 2.0 * torch.cat(similarities)).clamp(min=0.0).sqrt())


def disagreement(votes: Tensor, labels: Tensor) -> Tensor:
    """Share of the neighbours whose label is not the example's own, [N]."""
    return 1.0 - votes.gather(1, labels.unsqueeze(1)).squeeze(1)
