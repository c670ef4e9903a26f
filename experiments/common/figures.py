"""The figures of the experiments: those of the project, and the line on which predicted equals actual."""

from matplotlib.axes import Axes

from tasks.figures import HARMFUL, HELPFUL, NEUTRAL, panels, save

__all__ = ["HARMFUL", "HELPFUL", "NEUTRAL", "identity_line", "panels", "save"]


def identity_line(axis: Axes) -> None:
    """The line on which predicted equals actual, over the span of the data."""
    low = min(axis.get_xlim()[0], axis.get_ylim()[0])
    high = max(axis.get_xlim()[1], axis.get_ylim()[1])
    axis.plot([low, high], [low, high], color=NEUTRAL, linewidth=0.8, zorder=0)
