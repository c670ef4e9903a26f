"""The report stage: one self-contained page for a person, and what the flags find of the errors planted."""

import csv
import io
from dataclasses import asdict

from tasks.artifacts import write_json, write_text
from tasks.history import record
from tasks.parameters import Parameters
from tasks.reporting.baselines import DETECTORS
from tasks.reporting.data import ReportData
from tasks.reporting.detection import PERCENTAGES, RANDOM, Detection
from tasks.reporting.gathering import gather
from tasks.reporting.page import render_report
from tasks.stage import Work, main
from tasks.workspace import Workspace

RECALL_REPORTED = (1, 2, 5, 10, 20, 30)  # percent of the training set inspected


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Write report/index.html, report/metrics.json and report/recall.csv, and the run into history/.

    Raises:
        UserError: an artifact of an earlier stage is missing or damaged.
    """
    data = gather(workspace, parameters, record(workspace))
    write_json(workspace.report_metrics, metrics(data))
    write_text(workspace.recall_curve, recall_csv(data))
    write_text(workspace.report, render_report(data))
    return Work(data.training_examples)


def metrics(data: ReportData) -> dict[str, object]:
    """What `dvc metrics` compares. Without planted errors, only what can be said without the truth."""
    open_flags = len(data.to_review)
    found: dict[str, object] = {
        "training_examples": data.training_examples,
        "flagged": len(data.flags),
        "judged": len(data.flags) - open_flags,
        "expected_errors": round(data.expected_errors, 4),
        **({"expected_precision": round(data.expected_errors / open_flags, 4)} if open_flags else {}),
        "drift": [{**asdict(alert), "words": alert.words} for alert in data.since.alerts],
        "planted": data.planted,
    }
    if data.detections is not None:
        found["planted_flagged"] = data.planted_flagged
        found.update({name: _signal_metrics(detection) for name, detection in data.detections.items()})
    return found


def _signal_metrics(detection: Detection) -> dict[str, float]:
    recalls = {f"recall_{percent}": round(detection.recall[percent], 6) for percent in RECALL_REPORTED}
    return {
        **recalls,
        "auroc": round(detection.auroc, 6),
        "average_precision": round(detection.average_precision, 6),
    }


def recall_csv(data: ReportData) -> str:
    """Recall of each signal, one column each, by percentage of the training set inspected."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    detections = data.detections or {}
    columns = list(detections) or ["flags", *DETECTORS, RANDOM]
    rows.writerow(["inspected", *columns])
    for percent in PERCENTAGES if detections else ():
        rows.writerow([percent, *(round(detections[column].recall[percent], 6) for column in columns)])
    return text.getvalue()


if __name__ == "__main__":
    main("report", run)
