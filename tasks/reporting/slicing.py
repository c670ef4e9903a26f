"""The page of `influence slices`: how well each slice of the data is read, and which slices mislead it."""

from dataclasses import dataclass
from pathlib import Path

from tasks.provenance import write_page
from tasks.reporting.exhibits import Gallery
from tasks.reporting.formatting import name, percent, power_of_ten
from tasks.reporting.page import render_page
from tasks.workspace import HeldOut, Workspace

ALL_SEEN = range(3)  # powers of ten left out of the unit: a matrix holds much smaller values beside the largest


@dataclass(frozen=True)
class Part:
    """The examples of one slice in one split.

    Attributes:
        examples: how many; at least one.
        errors: how many of them are predicted as another label than theirs.
        low, high: Wilson's 95 % interval of the share of errors.
        mean_loss: in nats.
    """

    examples: int
    errors: int
    low: float
    high: float
    mean_loss: float

    @property
    def error_rate(self) -> float:
        return self.errors / self.examples


@dataclass(frozen=True)
class Slice:
    """One slice. A part is None where the split has no such example, `flagged` where nothing was flagged yet."""

    value: str
    train: Part | None
    evaluated: Part | None
    flagged: int | None


@dataclass(frozen=True)
class Influence:
    """Mean loss of the evaluated slice, in nats: how it would change if all of another slice were left out of training.

    Attributes:
        left_out, evaluated: positions in `Slices.slices`.
        total: of all examples left out; positive is helpful.
        per_example: the same over their number.
    """

    left_out: int
    evaluated: int
    total: float
    per_example: float


@dataclass(frozen=True)
class Slices:
    """What is known of a column's slices.

    Attributes:
        column: that the data were sliced by.
        split: whose examples were evaluated.
        slices: the most frequent first.
        influences: of every slice with training examples on every slice with evaluated ones.
        damping: added to the curvature, in absolute units.
        residual: the largest relative residual of the systems solved, one a slice.
    """

    column: str
    split: HeldOut
    slices: list[Slice]
    influences: list[Influence]
    damping: float
    residual: float

    def strongest(self, evaluated: int, sign: int) -> Influence | None:
        """What helps (sign 1) or harms (sign -1) a slice most, example by example; None where nothing does."""
        of_slice = [one for one in self.influences if one.evaluated == evaluated and sign * one.per_example > 0]
        return max(of_slice, key=lambda one: sign * one.per_example, default=None)

    def between(self, left_out: int, evaluated: int) -> Influence | None:
        found = [one for one in self.influences if (one.left_out, one.evaluated) == (left_out, evaluated)]
        return found[0] if found else None

    @property
    def power(self) -> int:
        """The power of ten in which influence per example reads well."""
        return power_of_ten([one.per_example for one in self.influences], ALL_SEEN)

    @property
    def total_power(self) -> int:
        return power_of_ten([one.total for one in self.influences], ALL_SEEN)


def findings(slices: Slices) -> str:
    """Which slice is read worst, as far as the intervals tell, and what harms it most."""
    judged = [(place, one.evaluated) for place, one in enumerate(slices.slices) if one.evaluated is not None]
    (place, worst), (other, best) = max(judged, key=lambda one: one[1].low), min(judged, key=lambda one: one[1].high)
    if worst.low <= best.high:
        return "No slice is read worse than another beyond chance: the 95 % intervals of their error rates all overlap."
    harmful = slices.strongest(place, -1)
    harm = "" if harmful is None else f", and harmed most by training examples of {_name(slices, harmful.left_out)}"
    return (
        f"{_name(slices, place)} is read worst{harm}: {_rate(worst)} of its examples are errors, "
        f"{_rate(best)} of {_name(slices, other)}."
    )


def _name(slices: Slices, place: int) -> str:
    return f"“{name(slices.slices[place].value)}”"


def _rate(part: Part) -> str:
    return f"{percent(part.error_rate, 1)} ({percent(part.low)} to {percent(part.high)})"


def write_slices_page(workspace: Workspace, slices: Slices) -> Path:
    """Write the page into the workspace's folder slices/ and return its path."""
    page = render_page("slices.html.j2", Gallery(), data=slices, findings=findings(slices))
    settings = {"by": slices.column, "split": slices.split, "damping": slices.damping}
    write_page(workspace.slices_page, page, "influence slices", settings, workspace.root, [workspace])
    return workspace.slices_page
