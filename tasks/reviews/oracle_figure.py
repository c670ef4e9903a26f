"""The figure of a simulated review: errors mended and test accuracy by the share of the training set inspected."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from tasks.figures import HARMFUL, HELPFUL, NEUTRAL, panels
from tasks.reporting.detection import RANDOM

LOOP = "loop"  # flags anew in every round
RUN = "run"  # the same, with the model that the run of each round has trained itself
ALL = "all"  # every planted error mended
DRAWN = {
    LOOP: ("flags, anew in every round", HARMFUL, "-"),
    "flags": ("flags of the first run", HARMFUL, "--"),
    "loss": ("train loss", "#4dac26", "-"),
    "self_influence": ("self-influence", HELPFUL, "-"),
    RANDOM: ("random", NEUTRAL, "-"),
}


@dataclass(frozen=True)
class Point:
    """What is known at the end of a round.

    Attributes:
        round: 0 is before any verdict.
        order: how the inspected examples were chosen.
        inspected: share of the training set.
        mended: share of the planted errors.
        test_accuracy: of the model trained with them mended; of several trainings, their mean.
        interval: 95 %, of the test examples as a sample; it does not hold how trainings differ.
    """

    round: int
    order: str
    inspected: float
    mended: float
    test_accuracy: float
    interval: tuple[float, float]

    def describe(self) -> str:
        low, high = self.interval
        return (
            f"round {self.round}, {self.order}: {self.inspected:.2%} inspected, {self.mended:.1%} of the planted "
            f"errors mended, test accuracy {self.test_accuracy:.2%} ({low:.1%} to {high:.1%})"
        )


def draw(points: Sequence[Point]) -> Figure:
    """Koh & Liang 2017, figure 6: left what was mended, right what the model trained again gains from it."""
    figure, (left, right) = panels(columns=2, width=3.8)
    for name, (label, colour, style) in DRAWN.items():
        own = sorted((point for point in points if point.order == name), key=lambda point: point.inspected)
        inspected = [100 * point.inspected for point in own]
        line: dict[str, Any] = {"color": colour, "linestyle": style, "marker": ".", "linewidth": 1.2, "label": label}
        left.plot(inspected, [100 * point.mended for point in own], **line)
        right.plot(inspected, [100 * point.test_accuracy for point in own], **line)
        if name == LOOP:  # of one line alone: all have the same test examples, and much the same interval
            low, high = zip(*(point.interval for point in own), strict=True)
            right.fill_between(
                inspected, [100 * end for end in low], [100 * end for end in high], color=colour, alpha=0.1, linewidth=0
            )
    for point in points:
        if point.order == ALL:
            right.axhline(100 * point.test_accuracy, color="black", linewidth=0.8, linestyle=":", label="all mended")
    left.set_title("Planted errors mended")
    right.set_title("Trained again with those mended\n(band: 95 % interval of the first line)")
    left.set_ylabel("planted errors (%)")
    right.set_ylabel("test accuracy (%)")
    for axis in (left, right):
        axis.set_xlabel("training examples inspected (%)")
        axis.set_xlim(left=0)
    left.set_ylim(0, 102)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure
