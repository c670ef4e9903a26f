"""Figures that look alike and come out byte for byte the same."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.artifacts import atomic_write

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "font.size": 9,
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "svg.hashsalt": "influence",  # names within the file that do not change from run to run
}
HELPFUL, HARMFUL, NEUTRAL = "#2166ac", "#b2182b", "#777777"


def panels(rows: int = 1, columns: int = 1, width: float = 3.4, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """A figure with rows x columns axes, in reading order; sizes in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for row in axes for axis in row]


def save(figure: Figure, stem: Path) -> None:
    """Write STEM.svg and STEM.png."""
    with matplotlib.rc_context(STYLE):
        # Neither a date nor a version: the same figure is the same file.
        atomic_write(stem.with_suffix(".svg"), lambda path: figure.savefig(path, format="svg", metadata={"Date": None}))
        png: dict[str, Any] = {"format": "png", "dpi": 150, "metadata": {"Software": None}}
        atomic_write(stem.with_suffix(".png"), lambda path: figure.savefig(path, **png))
