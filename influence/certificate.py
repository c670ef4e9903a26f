"""What the engine says of its last answer."""

from dataclasses import dataclass, field

from influence.inverse import Certificate


@dataclass
class EngineCertificate:
    """What the engine did and how far its last answer can be trusted.

    Attributes:
        damping: the number added to the curvature's diagonal.
        solves: certificates of the blocks solved for the last answer; empty where it needed none.
        seconds: wall-clock time of the last answer.
    """

    damping: float
    solves: list[Certificate] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def largest_residual(self) -> float:
        """Largest relative residual of the last answer's solves; 0 where it needed none."""
        return max((float(solve.relative_residual.max()) for solve in self.solves), default=0.0)

    @property
    def converged(self) -> bool:
        """Whether every solve of the last answer met the tolerance."""
        return all(bool(solve.converged.all()) for solve in self.solves)

    @property
    def operator_products(self) -> int:
        """Vectors multiplied by the curvature for the last answer."""
        return sum(solve.operator_products for solve in self.solves)
