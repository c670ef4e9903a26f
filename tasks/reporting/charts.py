"""Charts as geometry: lines, bars, dots and ticks in the coordinates of the SVG of templates/charts.html.j2."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.ticker import MaxNLocator

from tasks.reporting import formatting

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 446, 14, 252  # edges of the plot itself
BINS = 44


@dataclass(frozen=True)
class Tick:
    position: float
    text: str


@dataclass(frozen=True)
class Line:
    """A polyline; `style` names a class of page.css."""

    name: str
    style: str
    points: str


@dataclass(frozen=True)
class Bar:
    style: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Dots:
    """Points of one kind, (x, y) each; `style` names a class of page.css."""

    name: str
    style: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    name: str
    description: str
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    dots: list[Dots] = field(default_factory=list)
    marker: Tick | None = None  # a vertical line with its name

    width, height, left, right, top, bottom = WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM


@dataclass(frozen=True)
class Series:
    """A line before it is drawn: `x` and `y` in data units."""

    name: str
    style: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(
    name: str,
    description: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    marker: tuple[float, str] | None = None,
    whole_x: bool = False,
) -> Chart:
    """Lines over common axes."""
    horizontal, vertical = Scale(*x_range, LEFT, RIGHT), Scale(*y_range, BOTTOM, TOP)
    lines = [
        Line(
            one.name,
            one.style,
            " ".join(f"{horizontal(x)},{vertical(y)}" for x, y in zip(one.x, one.y, strict=True)),
        )
        for one in series
    ]
    return Chart(
        name=name,
        description=description,
        x_label=x_label,
        y_label=y_label,
        x_ticks=horizontal.ticks(7, whole=whole_x),
        y_ticks=vertical.ticks(6),
        lines=lines,
        marker=None if marker is None else Tick(horizontal(marker[0]), marker[1]),
    )


def scatter_chart(name: str, description: str, x_label: str, y_label: str, series: Sequence[Series]) -> Chart:
    """Points over axes that hold them all, the vertical one zero too."""
    xs, ys = [x for one in series for x in one.x], [0.0, *(y for one in series for y in one.y)]
    horizontal = Scale(*_widened(min(xs), max(xs)), LEFT, RIGHT)
    vertical = Scale(*_widened(min(ys), max(ys)), BOTTOM, TOP)
    return Chart(
        name=name,
        description=description,
        x_label=x_label,
        y_label=y_label,
        x_ticks=horizontal.ticks(6),
        y_ticks=vertical.ticks(6),
        dots=[
            Dots(one.name, one.style, [(horizontal(x), vertical(y)) for x, y in zip(one.x, one.y, strict=True)])
            for one in series
        ],
    )


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range with a little room at both ends, also where it is a single point."""
    room = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
    return low - room, high + room


def log_histogram(
    name: str, description: str, x_label: str, y_label: str, values: np.ndarray, highlighted: np.ndarray
) -> Chart:
    """Counts over a logarithmic axis; those of the highlighted values are drawn in front.

    Args:
        values: float [N]; what is zero, negative, or a millionth of the median is counted in the first bar.
        highlighted: bool [N].
    """
    exponents = np.log10(np.maximum(values, _floor(values)))
    low, high = float(exponents.min()), float(exponents.max())
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    counts = np.histogram(exponents, edges)[0]
    front = np.histogram(exponents[highlighted], edges)[0]
    horizontal, vertical = (
        Scale(low, high, LEFT, RIGHT),
        Scale(0, max(int(counts.max()), 1) * 1.05, BOTTOM, TOP),
    )
    bars = [
        Bar(
            style,
            horizontal(left) + 0.5,
            vertical(n),
            round((RIGHT - LEFT) / BINS - 1, 2),
            round(BOTTOM - vertical(n), 2),
        )
        for style, heights in (("all", counts), ("flagged", front))
        for left, n in zip(edges[:-1], heights.tolist(), strict=True)
        if n > 0
    ]
    return Chart(
        name=name,
        description=description,
        x_label=x_label,
        y_label=y_label,
        x_ticks=_decades(low, high, horizontal),
        y_ticks=vertical.ticks(5),
        bars=bars,
    )


def _floor(values: np.ndarray) -> float:
    positive = values[values > 0]
    return max(float(positive.min()), float(np.median(positive)) * 1e-6) if len(positive) else 1.0


@dataclass(frozen=True)
class Scale:
    """A linear map from [low, high] in data units to [start, end] in the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)

    def ticks(self, most: int, whole: bool = False) -> list[Tick]:
        locator = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=whole)
        slack = 1e-9 * (self.high - self.low)
        values = [v for v in locator.tick_values(self.low, self.high) if self.low - slack <= v <= self.high + slack]
        return [Tick(self(value), _tick_text(value)) for value in values]


def _tick_text(value: float) -> str:
    value = round(value, 10)
    return formatting.count(value) if value == round(value) else f"{value:g}"


def _decades(low: float, high: float, scale: Scale) -> list[Tick]:
    """Powers of ten inside the range, thinned to about seven; round exponents where there are hardly any."""
    powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    if len(powers) < 2:
        exponents = MaxNLocator(nbins=4).tick_values(low, high)
        return [Tick(scale(e), formatting.number(10**e, 2)) for e in exponents if low <= e <= high]
    step = max(math.ceil(len(powers) / 7), 1)
    chosen = [power for power in powers if power % step == 0]
    return [Tick(scale(power), f"10{str(power).translate(formatting.SUPERSCRIPTS)}") for power in chosen]
