import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.reporting.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Series, line_chart, log_histogram, scatter_chart

influences = st.floats(0, 1e6, allow_nan=False) | st.floats(-1e-3, 1e-9)


def histogram(values: np.ndarray, highlighted: np.ndarray) -> Chart:
    return log_histogram("name", "description", "x", "y", values, highlighted)


@given(arrays(float, st.integers(1, 50), elements=influences), st.data())
def test_every_bar_lies_inside_the_plot(values: np.ndarray, data: st.DataObject) -> None:
    highlighted = data.draw(arrays(bool, len(values)))
    chart = histogram(values, highlighted)
    assert chart.bars
    for bar in chart.bars:
        assert bar.x >= LEFT and bar.x + bar.width <= RIGHT + 1
        assert bar.y >= TOP - 0.01 and bar.y + bar.height == pytest.approx(BOTTOM, abs=0.02)
    assert all(LEFT <= tick.position <= RIGHT for tick in chart.x_ticks)


def test_the_bars_count_every_value_once() -> None:
    values = np.geomspace(1e-6, 1e-1, 500)
    highlighted = values > 1e-2
    chart = histogram(values, highlighted)
    unit = (BOTTOM - chart.y_ticks[1].position) / float(chart.y_ticks[1].text)
    for style, expected in (("all", 500), ("flagged", highlighted.sum())):
        heights = sum(bar.height for bar in chart.bars if bar.style == style)
        assert heights / unit == pytest.approx(expected, rel=0.01)
    assert [tick.text for tick in chart.x_ticks] == ["10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²", "10⁻¹"]


def test_lines_meet_the_corners_of_their_ranges() -> None:
    series = [Series("one", "flags", [0, 30], [0, 100])]
    chart = line_chart("n", "d", "x", "y", series, x_range=(0, 30), y_range=(0, 100))
    start, end = (tuple(map(float, point.split(","))) for point in chart.lines[0].points.split())
    assert start == (LEFT, BOTTOM)
    assert end == (RIGHT, TOP)
    assert [tick.text for tick in chart.y_ticks] == ["0", "20", "40", "60", "80", "100"]


@given(st.lists(st.tuples(st.floats(0, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=30))
def test_every_dot_and_zero_lie_inside_the_plot(points: list[tuple[float, float]]) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    chart = scatter_chart("n", "d", "x", "y", [Series("one", "same", xs, ys)])
    (dots,) = chart.dots
    assert len(dots.points) == len(points)
    for x, y in dots.points:
        assert LEFT <= x <= RIGHT and TOP <= y <= BOTTOM
    order = sorted(range(len(points)), key=lambda index: ys[index])
    drawn = [dots.points[index][1] for index in order]
    assert drawn == sorted(drawn, reverse=True)  # upwards is more
    assert "0" in [tick.text for tick in chart.y_ticks]
