"""Influence compared with how far leaving the example out moves the model at all: RelatIF and cosine influence.

Plain influence is led by outliers and wrong labels, which move every prediction. Set against the length of that move it
tells which examples act on this query in particular. With A = H + damping I, of a query q and a training example z:

    theta-relative:  g_q^T A^-1 g_z / ||A^-1 g_z||
    loss-relative:   g_q^T A^-1 g_z / sqrt(g_z^T A^-1 g_z)
    cosine:          g_q^T A^-1 g_z / (sqrt(g_z^T A^-1 g_z) sqrt(g_q^T A^-1 g_q))

The first two are theta-RelatIF and l-RelatIF (Barshan, Brunet & Dziugaite 2020), with this package's sign: positive is
helpful. None predicts what leaving z out does to q's loss, and none depends on n.
"""

from typing import Literal

import torch
from torch import Tensor

from influence.layers import Readings
from influence.scores.norms import Norms, Order
from influence.scores.pairwise import Scores

Relation = Literal["theta-relative", "loss-relative", "cosine"]


def order_of(relation: Relation) -> Order:
    """The order of the norms that an example's influence is divided by."""
    return 2 if relation == "theta-relative" else 1


class RelativeInfluence:
    """Influence over the length of the move that an example makes.

    Units: theta-relative, the measurement's per unit of distance in parameter space: the slope of q's measurement in
    the direction in which leaving z out moves the parameters. Loss-relative, the measurement's over the root of nats.
    Cosine, none: from -1 to 1 where A is positive definite and the systems are solved exactly. An example that does
    not move the model at all is given 0.

    Args:
        pairwise: influence of training examples on the queries.
        norms: of training examples, of order 2 for theta-relative and of order 1 for the other two (`order_of`).
        query_norms: sqrt(g_q^T A^-1 g_q) of every query, [Q], for cosine (`norm_in_metric`); None for the other two.
    """

    def __init__(self, pairwise: Scores, norms: Norms, query_norms: Tensor | None = None) -> None:
        self.pairwise, self.norms, self.query_norms = pairwise, norms, query_norms
        self.gradients, self.examples = pairwise.gradients, pairwise.examples

    def batch(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Relative influence of each example of a batch on each query, [Q, B]."""
        return self.from_readings(self.gradients.read(inputs, targets=targets))

    def from_readings(self, readings: Readings) -> Tensor:
        """The same, of gradients already read with L = 1."""
        scores = _over(self.examples * self.pairwise.from_readings(readings), self.norms.from_readings(readings))
        return scores if self.query_norms is None else _over(scores, self.query_norms.unsqueeze(1))


def _over(scores: Tensor, lengths: Tensor) -> Tensor:
    return torch.where(lengths > 0, scores / lengths, 0.0)
