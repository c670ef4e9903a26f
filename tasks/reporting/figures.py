"""The figures of the report, from its data to the geometry of `tasks.reporting.charts`."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from tasks.reporting.charts import Chart, Series, line_chart, log_histogram
from tasks.reporting.data import ReportData
from tasks.reporting.detection import PERCENTAGES

DRAWN_DETECTORS = ("random", "self_influence", "margin", "loss", "flags")  # the last lies on top
POINTS = 200  # of a curve over the flags
SPARK_WIDTH, SPARK_HEIGHT, SPARK_MARGIN = 132.0, 36.0, 4.0


def yield_chart(data: ReportData) -> Chart | None:
    """How many wrong labels a reviewer can expect to have met after how many labels."""
    probabilities = [flag.error_probability for flag in data.to_review]
    if len(probabilities) < 2:
        return None
    found = [0.0, *accumulate(probabilities)]
    step = -(-len(probabilities) // POINTS)
    places = sorted({*range(0, len(found), step), len(found) - 1})
    return line_chart(
        "Where to stop",
        "Wrong labels expected among the first labels of the list, by how many of them are reviewed.",
        "labels reviewed, most suspect first",
        "wrong labels expected among them",
        [
            Series("were every label wrong", "random", [0, len(probabilities)], [0, len(probabilities)]),
            Series("expected", "flags", places, [found[place] for place in places]),
        ],
        x_range=(0, len(probabilities)),
        y_range=(0, len(probabilities)),
        whole_x=True,
    )


def recall_chart(data: ReportData, names: Mapping[str, str]) -> Chart | None:
    """What inspection finds of the planted errors; None where none was planted."""
    if data.detections is None:
        return None
    series = [
        Series(
            names[name],
            name.replace("_", "-"),
            [0, *PERCENTAGES],
            [0, *(data.detections[name].recall[p] * 100 for p in PERCENTAGES)],
        )
        for name in DRAWN_DETECTORS
    ]
    return line_chart(
        "Planted errors found",
        "Share of the planted errors found by the share of the training set inspected, one line a signal.",
        "training examples inspected, most suspect first (%)",
        "planted errors found (%)",
        series,
        x_range=(0, PERCENTAGES[-1]),
        y_range=(0, 100),
    )


def loss_chart(data: ReportData) -> Chart | None:
    """The loss by epoch; None where nothing was trained."""
    if len({row.epoch for row in data.curve}) < 2:
        return None
    splits = [split for split in ("train", "validation") if any(row.split == split for row in data.curve)]
    series = []
    for split in splits:
        rows = [row for row in data.curve if row.split == split]
        series.append(Series(split, split, [row.epoch for row in rows], [row.loss for row in rows]))
    epochs = [row.epoch for row in data.curve]
    best = data.model.get("best_epoch")
    return line_chart(
        "Loss by epoch",
        "Mean loss of the training and validation examples after each epoch.",
        "epoch",
        "mean loss (nats)",
        series,
        x_range=(min(epochs), max(epochs)),
        y_range=(0, max(row.loss for row in data.curve if row.split in splits) * 1.05 or 1.0),
        marker=None if best is None else (best, "kept"),
        whole_x=True,
    )


def self_influence_histogram(data: ReportData) -> Chart | None:
    """How self-influence is spread, and where the flagged ones lie in it."""
    if len(data.self_influence) == 0:
        return None
    return log_histogram(
        "Self-influence",
        "How many training examples have which self-influence; the flagged ones are drawn in front.",
        "self-influence (nats, logarithmic)",
        "training examples",
        data.self_influence,
        data.flagged,
    )


def sparkline(values: Sequence[float | None], top: float) -> list[tuple[float, float]]:
    """Points (x, y) of a small curve, one a run; what a run lacks is left out.

    Args:
        values: from 0 to `top`, the oldest first.
        top: what the upper edge stands for.
    """
    step = (SPARK_WIDTH - 2 * SPARK_MARGIN) / max(len(values) - 1, 1)
    height = SPARK_HEIGHT - 2 * SPARK_MARGIN
    return [
        (round(SPARK_MARGIN + place * step, 1), round(SPARK_HEIGHT - SPARK_MARGIN - height * value / (top or 1.0), 1))
        for place, value in enumerate(values)
        if value is not None
    ]
