"""Damping: what is added to the curvature before it is inverted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Relative:
    """Damping as a share of the curvature's mean eigenvalue, its trace over the number of parameters."""

    share: float

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ValueError(f"relative damping must be positive, got {self.share}")


Damping = float | Relative


def absolute(damping: Damping, mean_eigenvalue: float) -> float:
    """The number added to the diagonal."""
    return damping.share * mean_eigenvalue if isinstance(damping, Relative) else damping
