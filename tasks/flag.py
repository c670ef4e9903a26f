"""A ranked list of probable label errors: what speaks against each label, what should stand instead, and why."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from scipy.special import expit

from influence.detection import along_ranking, fuse, suggest, within_false_discoveries
from influence.detection.correction import log_odds_along
from tasks.artifacts import FINDINGS, FLAGS, SIGNAL_NAMES, SIGNALS, provenance, write_json, write_table
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.evidence import find_evidence
from tasks.findings import KINDS, Finding, find_others
from tasks.parameters import Flag, Parameters
from tasks.reasons import reasons
from tasks.reviews import store
from tasks.reviews.answered import answered
from tasks.reviews.learning import Lessons, learn
from tasks.signals import Signals, gather_signals
from tasks.stage import Work, main
from tasks.workspace import Workspace

# What those say that have not seen the example's label, the same with the model, and a little of what was seen while
# the model learned. The weights were chosen on MNIST's and CIFAR-10's test files and on synthetic tables.
FUSED = {"error_log_odds": 1.0, "model_error_log_odds": 1.0, "mean_margin_log_odds": 0.25}


@dataclass(frozen=True)
class Detection:
    """Every training example's signals and what follows from them, in the order of the training split."""

    signals: Signals
    order: np.ndarray  # positions, most suspect first
    probability: np.ndarray
    suggested: np.ndarray
    suggested_probability: np.ndarray
    lessons: Lessons  # of earlier reviews


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Rank the training set, and flag as much of what nobody has answered for as a person is to inspect."""
    settings, train = parameters.flag, load_split(workspace, "train")
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        detection = detect(workspace, parameters, train, device)
        suggested = [train.encoding.classes[label] for label in detection.suggested]
        settled = answered(workspace, train.ids, suggested)
        asked = detection.order[~settled[detection.order]]
        flagged = asked[: how_many(detection.probability[asked], settings)]
        speakers = find_evidence(workspace, parameters, train, flagged, detection.suggested[flagged], device)
        findings = find_others(workspace, train, detection.signals, flagged, device)
    columns = _columns(train, detection, detection.order)
    inputs = [workspace.split("train"), workspace.predictions, workspace.epoch_margins, workspace.self_influence]
    metadata = provenance(
        "flag",
        parameters.model_dump(mode="json", include={"flag", "compute", "seed"}),
        # Verdicts that taught nothing leave the flags as they are, to the byte: it is the same run.
        [*inputs, *([workspace.verdicts] if detection.lessons.correction else [])],
    )
    write_table(workspace.signals, pa.table(columns, schema=SIGNALS), SIGNALS, metadata)
    shown = _columns(train, detection, flagged)
    shown["reason"] = reasons(
        train.encoding.classes, detection.signals, settings.neighbours, flagged, detection.suggested[flagged], speakers
    )
    shown["evidence_for"] = [[train.ids[index] for index in found] for found in speakers.supporting]
    shown["evidence_against"] = [[train.ids[index] for index in found] for found in speakers.opposing]
    shown["opponents_suggested"] = pa.array(speakers.opponents_suggested, pa.float32())
    write_table(workspace.flags, pa.table(shown, schema=FLAGS), FLAGS, metadata)
    write_table(workspace.findings, pa.Table.from_pylist(findings, FINDINGS), FINDINGS, metadata)
    found = metrics(np.where(settled, 0.0, detection.probability), flagged, findings)
    learned = {"validation_trusted": detection.signals.validation_trusted, "verdicts": detection.lessons.described()}
    write_json(workspace.flag_metrics, {**found, **learned})
    return Work(len(train), str(device))


def detect(workspace: Workspace, parameters: Parameters, train: Split, device: torch.device) -> Detection:
    """Gather the signals, fuse them into a ranking, and tell how probable an error is along it.

    Raises:
        UserError: an artifact is of another training set.
    """
    signals = gather_signals(workspace, train, parameters.flag, parameters.seed, device)
    fused, given = fuse({name: signals.columns[name] for name in FUSED}, FUSED), train.labels.numpy()
    wrong = 1.0 - signals.posterior[np.arange(len(train)), given]
    probability, ranking = along_ranking(wrong, fused), fused
    log_odds = log_odds_along(probability, fused)
    verdicts = store.read(workspace) if parameters.flag.learn_from_verdicts else []
    lessons = learn(verdicts, train.ids, log_odds, signals.columns, parameters.seed)
    if lessons.correction is not None:
        ranking = log_odds + lessons.change(log_odds, signals.columns)
        probability = expit(ranking)
    signals = replace(signals, columns={**signals.columns, "fused_log_odds": log_odds})
    suggested, among_others = suggest(signals.posterior, given)
    # Equal scores: by id, so that the order of rows decides nothing.
    order = np.lexsort((np.array(train.ids), -ranking))
    return Detection(signals, order, probability, suggested, probability * among_others, lessons)


def how_many(probability: np.ndarray, settings: Flag) -> int:
    """How many to show of a ranking whose error probabilities are these, the most suspect first."""
    if settings.false_discoveries is not None:
        return within_false_discoveries(probability, settings.false_discoveries)
    return round(settings.inspect * len(probability))


def metrics(probability: np.ndarray, flagged: np.ndarray, findings: list[Finding]) -> dict[str, object]:
    """What `dvc metrics` compares: how much was flagged, and how much of it is expected to be wrong.

    Args:
        probability: of an error that nobody has answered for, [N].
        flagged: positions of the flags.
        findings: of other kinds.
    """
    kinds = Counter(finding["kind"] for finding in findings)
    precision = {"expected_precision": float(probability[flagged].mean())} if len(flagged) else {}
    return {
        "training_examples": len(probability),
        "flagged": len(flagged),
        "expected_errors": float(probability.sum()),
        "expected_errors_flagged": float(probability[flagged].sum()),
        **precision,
        "estimated_share_of_errors": float(probability.mean()),
        "findings": {kind: kinds[kind] for kind in KINDS},
    }


def _columns(train: Split, detection: Detection, rows: np.ndarray) -> dict[str, object]:
    classes, columns = np.array(train.encoding.classes, dtype=object), detection.signals.columns
    return {
        "example_id": [train.ids[row] for row in rows],
        "rank": np.arange(1, len(rows) + 1, dtype=np.int32),
        "error_probability": detection.probability[rows].astype(np.float32),
        "given_label": pa.array(classes[train.labels.numpy()[rows]], pa.string()),
        "suggested_label": pa.array(classes[detection.suggested[rows]], pa.string()),
        "suggested_probability": detection.suggested_probability[rows].astype(np.float32),
        **{
            name: pa.array(columns[name][rows].astype(np.float32))
            if name in columns
            else pa.nulls(len(rows), pa.float32())
            for name in SIGNAL_NAMES
        },
    }


if __name__ == "__main__":
    main("flag", run)
