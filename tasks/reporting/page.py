"""HTML by jinja2, everything from the data escaped: one file that needs no network, runs no other script."""

import base64
import hashlib
from typing import Any

import numpy as np
from markupsafe import Markup

from tasks.reporting import figures, summary, templating
from tasks.reporting.data import ReportData
from tasks.reporting.exhibits import Gallery
from tasks.reporting.flag_table import table

PACKAGE = "tasks"
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
    "mean_margin_error_model": "Error model, with the mean margin",
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


def render_report(data: ReportData) -> str:
    """The whole report as one HTML page."""
    return _render(
        "report.html.j2",
        data=data,
        gallery=data.gallery,
        headline=summary.headline(data),
        where_to_stop=summary.where_to_stop(data),
        verdict=summary.detection_verdict(data),
        validation_labels=summary.validation_labels(data),
        gained=summary.gained(data.since),
        most_confused=summary.most_confused(data),
        detector_names=DETECTOR_NAMES,
        finding_names=FINDING_NAMES,
        method_names=METHOD_NAMES,
        yield_chart=figures.yield_chart(data),
        recall_chart=figures.recall_chart(data, DETECTOR_NAMES),
        loss_chart=figures.loss_chart(data),
        histogram=figures.self_influence_histogram(data),
        sparkline=figures.sparkline,
        table=table(data),
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
    page = templating.environment(PACKAGE).get_template(template)
    return page.render(style=style, script=script, policy=policy, **values)


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


def _asset(name: str) -> Markup:
    """A file of this package, trusted as it stands."""
    return Markup(templating.source(PACKAGE, name))


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None
