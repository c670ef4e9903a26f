"""The comparisons of the table, and what each is to reach."""

from dataclasses import dataclass
from typing import Literal

Peer = Literal["kronfluence", "pydvl"]


@dataclass(frozen=True)
class Row:
    """One of our jobs beside one of a peer's.

    Attributes:
        name: by which the command line chooses it.
        title: what is computed.
        ours: name of our job.
        peer: whose job it is compared with.
        theirs: name of that.
        cpu: our CPU seconds are to be at most this share of theirs.
        memory: so is the memory that our job adds at its peak; None: not asked for.
        limit: bytes that our whole process may take at its peak; None: not asked for.
    """

    name: str
    title: str
    ours: str
    peer: Peer
    theirs: str
    cpu: float
    memory: float | None = None
    limit: int | None = None


ROWS = [
    Row(
        "regression",
        "softmax regression, exact Hessian: pairwise",
        "regression-pairwise",
        "pydvl",
        "regression-pairwise",
        1 / 8,
        limit=10**9,
    ),
    Row("fit", "MLP: EK-FAC fit", "mlp-fit", "kronfluence", "mlp-fit", 1 / 20, memory=1 / 3),
    Row("self", "MLP: self-influence of all", "mlp-self", "kronfluence", "mlp-self", 1 / 100),
    Row("pairwise", "MLP: pairwise, exact EK-FAC", "mlp-pairwise", "kronfluence", "mlp-pairwise", 1.0),
    Row(
        "low-rank",
        "MLP: pairwise, low-rank, Pearson >= .99 per query",
        "mlp-low-rank",
        "kronfluence",
        "mlp-pairwise",
        1 / 15,
    ),
    Row("cnn", "CNN: EK-FAC fit and self-influence", "cnn-fit-and-self", "kronfluence", "cnn-fit-and-self", 1 / 5),
]
