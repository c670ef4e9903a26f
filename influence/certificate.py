"""What the engine says of its last answer."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from influence.inverse import Certificate
from influence.scores import LowRankError


@dataclass
class EngineCertificate:
    """What the engine did and how far its last answer can be trusted.

    Attributes:
        damping: the number added to the curvature's diagonal.
        solves: certificates of the blocks solved for the last answer; empty where it needed none.
        low_rank: errors of the last answer's scores of low rank, one a block of queries; empty where they are exact.
        seconds: wall-clock time of the last answer.
        peak_memory: bytes by which memory rose for the last answer, what is returned included; at most, where the
            process once held more (see `PeakMemory`). None where the system does not tell.
    """

    damping: float
    solves: list[Certificate] = field(default_factory=list)
    low_rank: list[LowRankError] = field(default_factory=list)
    seconds: float = 0.0
    peak_memory: int | None = None

    @property
    def residuals(self) -> Tensor:
        """Relative residual of every system solved for the last answer, [K], measured anew from its solution."""
        return torch.cat([torch.zeros(0), *(solve.relative_residual.cpu() for solve in self.solves)])

    @property
    def largest_residual(self) -> float:
        """Largest relative residual of the last answer's solves; 0 where it needed none."""
        return max(self.residuals.tolist(), default=0.0)

    @property
    def converged(self) -> bool:
        """Whether every solve of the last answer met the tolerance."""
        return all(bool(solve.converged.all()) for solve in self.solves)

    @property
    def operator_products(self) -> int:
        """Vectors multiplied by the curvature for the last answer."""
        return sum(solve.operator_products for solve in self.solves)

    def __str__(self) -> str:
        """One sentence for a person."""
        if self.low_rank:
            worst = min(float(error.pearson.min()) for error in self.low_rank)
            sampled = sum(len(error.pearson) for error in self.low_rank)
            return (
                f"scores of low rank, whose smallest correlation with exact ones over {sampled:,} sampled queries is "
                f"{worst:.4f}; damping {self.damping:.3g}, {self.seconds:.2g} s"
            )
        if not self.solves:
            return f"nothing was solved for; damping {self.damping:.3g}, {self.seconds:.2g} s"
        met = sum(int(solve.converged.sum()) for solve in self.solves)
        return (
            f"{met:,} of {len(self.residuals):,} systems solved to the tolerance (largest relative residual "
            f"{self.largest_residual:.2g}) with {self.operator_products:,} products, damping {self.damping:.3g}, "
            f"{self.seconds:.2g} s"
        )
