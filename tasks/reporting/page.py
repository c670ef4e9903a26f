"""HTML by jinja2, everything from the data escaped: one file that needs no network, runs no other script."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tasks.reporting import formatting, summary
from tasks.reporting.charts import Chart, Series, line_chart, log_histogram
from tasks.reporting.data import ReportData
from tasks.reporting.detection import PERCENTAGES
from tasks.reporting.exhibits import VALUE_LIMIT, Gallery

DETECTOR_NAMES = {
    "flags": "This list",
    "loss": "Loss",
    "margin": "Margin",
    "mean_margin": "Mean margin over epochs",
    "self_influence": "Self-influence",
    "validation_harm": "Harm to validation errors",
    "leave_one_out": "Leave-one-out loss",
    "neighbours": "Neighbours disagree",
    "confident_learning": "Cleanlab, cross-validated top layer",
    "error_model": "Error model, out of sample",
    "model_error_model": "Error model, with the model's word",
    "random": "Random order",
}
METHOD_NAMES = {
    "influence": "Influence, as in this report",
    "gradient_product": "Gradient product",
    "similarity": "Similarity of features",
}
FINDING_NAMES = {
    "leak": "Held-out examples that nearly repeat a training example",
    "conflict": "Near-duplicates with different labels",
    "outlier": "Training examples far from all others",
    "class": "Classes with many flags",
    "slice": "Slices with many flags",
}
DRAWN_DETECTORS = ("random", "self_influence", "margin", "loss", "flags")  # the last lies on top


def render_report(data: ReportData) -> str:
    """The whole report as one HTML page."""
    return _render(
        "report.html.j2",
        data=data,
        gallery=data.gallery,
        headline=summary.headline(data),
        expectation=summary.expectation(data),
        verdict=summary.detection_verdict(data),
        most_confused=summary.most_confused(data),
        detector_names=DETECTOR_NAMES,
        finding_names=FINDING_NAMES,
        method_names=METHOD_NAMES,
        recall_chart=_recall_chart(data),
        loss_chart=_loss_chart(data),
        histogram=_histogram(data),
        table=_table(data),
        evidence=lambda ids: [{"example_id": i, "label": data.training_labels.get(i, "?")} for i in ids],
        self_influence_median=_median(data.self_influence),
        flagged_median=_median(data.self_influence[data.flagged]),
        script=_asset("table.js"),
    )


def render_page(template: str, gallery: Gallery, **values: Any) -> str:
    """A page of the same design without a script of its own."""
    return _render(template, gallery=gallery, script=None, **values)


def _render(template: str, script: Markup | None, **values: Any) -> str:
    style = _asset("page.css")
    policy = content_security_policy(style, script)
    return _environment().get_template(template).render(style=style, script=script, policy=policy, **values)


def content_security_policy(style: str, script: str | None) -> str:
    """Nothing is loaded, and only the style and the script with these very bytes are used."""
    sources = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": _hash_source(style),
        "script-src": "'none'" if script is None else _hash_source(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {source}" for name, source in sources.items())


def _hash_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tasks", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("count", "percent", "number", "signed", "scaled", "nats", "visible", "name"):
        environment.filters[name] = getattr(formatting, name)
    return environment


@cache
def _asset(name: str) -> Markup:
    """A file of this package, trusted as it stands; none of them holds anything from the data."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), name)[0])


def _table(data: ReportData) -> Mapping[str, Any]:
    """The flags as rows of plain values for templates/table.js, which writes them as text, never as HTML."""
    carded = {flag.example_id for flag in data.cards}
    rows = []
    for flag in data.flags:
        exhibit = data.gallery[flag.example_id]
        rows.append(
            [
                flag.rank,
                formatting.name(flag.example_id),
                formatting.name(flag.given),
                formatting.name(flag.suggested),
                round(flag.error_probability, 4),
                float(f"{flag.loss:.4g}"),
                float(f"{flag.self_influence:.4g}"),
                formatting.visible(flag.reason[:VALUE_LIMIT]),
                formatting.visible(exhibit.snippet),
                exhibit.picture,
                flag.example_id in carded,
            ]
        )
    return {"rows": rows}


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _recall_chart(data: ReportData) -> Chart | None:
    if data.detections is None:
        return None
    series = [
        Series(
            DETECTOR_NAMES[name],
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


def _loss_chart(data: ReportData) -> Chart | None:
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


def _histogram(data: ReportData) -> Chart | None:
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
