"""A ranked list of probable label errors: what speaks against each label, what should stand instead, and why."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from influence.detection import Calibrator, disagreement, evidence, fuse, label_posterior, neighbour_votes, suggest
from tasks.artifacts import FLAGS, SIGNALS, provenance, read_table, write_json, write_table
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.evidence import find_evidence
from tasks.parameters import Parameters
from tasks.progress import Progress
from tasks.reasons import reasons
from tasks.stage import Work, main
from tasks.workspace import SplitName, Workspace

# The final margin is another function of the same outputs as the loss: shown, but not counted twice.
FUSED = ("loss", "negative_mean_margin", "self_influence", "neighbour_disagreement")


@dataclass(frozen=True)
class Predictions:
    """What the model says of one split: labels [N], probabilities [N, classes], features [N, D], and its table."""

    table: pa.Table
    labels: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Detection:
    """Every training example's signals and what follows from them, in the order of the training split."""

    signals: dict[str, np.ndarray]
    order: np.ndarray  # positions, most suspect first
    probability: np.ndarray
    suggested: np.ndarray
    suggested_probability: np.ndarray
    votes: np.ndarray
    share: float  # of wrong labels in the training set, as the calibration sees it


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Rank the training set and flag as much of it as a person is to inspect."""
    settings, train = parameters.flag, load_split(workspace, "train")
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        detection = detect(workspace, train, settings.neighbours, device)
        flagged = detection.order[: round(settings.inspect * len(train))]
        speakers = find_evidence(workspace, parameters, train, flagged, detection.suggested[flagged], device)
    columns = _columns(train, detection, detection.order)
    metadata = provenance(
        "flag",
        parameters.model_dump(mode="json", include={"flag", "compute", "seed"}),
        [workspace.split("train"), workspace.predictions, workspace.epoch_margins, workspace.self_influence],
    )
    write_table(workspace.signals, pa.table(columns), SIGNALS, metadata)
    shown = _columns(train, detection, flagged)
    shown["reason"] = reasons(train.encoding.classes, detection.signals, detection.votes, settings.neighbours, flagged)
    shown["evidence_for"] = [[train.ids[index] for index in found] for found in speakers.supporting]
    shown["evidence_against"] = [[train.ids[index] for index in found] for found in speakers.opposing]
    write_table(workspace.flags, pa.table(shown, schema=FLAGS), FLAGS, metadata)
    write_json(
        workspace.flag_metrics,
        {
            "training_examples": len(train),
            "flagged": len(flagged),
            "expected_errors": float(detection.probability.sum()),
            "expected_errors_flagged": float(detection.probability[flagged].sum()),
            "estimated_share_of_errors": detection.share,
        },
    )
    return Work(len(train), str(device))


def detect(workspace: Workspace, train: Split, neighbours: int, device: torch.device) -> Detection:
    """Gather the signals, fuse them into a ranking, and calibrate it on the validation split.

    Raises:
        UserError: an artifact is of another training set.
    """
    own, held_out = load_predictions(workspace, "train", train), load_predictions(workspace, "validation", train)
    classes = len(train.encoding.classes)
    features, labels = torch.from_numpy(own.features).to(device), torch.from_numpy(own.labels).to(device)
    progress = Progress("flag: neighbours", len(train))
    votes = neighbour_votes(features, labels, classes, neighbours, on_batch=progress.advance)
    held_out_features = torch.from_numpy(held_out.features).to(device)
    held_out_votes = neighbour_votes(features, labels, classes, neighbours, held_out_features).cpu().numpy()
    signals = {
        "loss": _column(own.table, "loss"),
        "negative_margin": -_column(own.table, "margin"),
        "negative_mean_margin": -_mean_margins(workspace, train),
        "self_influence": _column(_of(workspace, train, read_table(workspace.self_influence)), "self_influence"),
        "neighbour_disagreement": disagreement(votes, labels).cpu().numpy(),
    }
    votes_array = votes.cpu().numpy()
    fused = fuse({name: signals[name] for name in FUSED})
    calibrator = Calibrator(held_out_votes, neighbours, held_out.labels)
    against = evidence(votes_array, neighbours, own.labels)
    probability, share = calibrator.probability(against, fused)
    posterior = label_posterior(own.probabilities, votes_array, neighbours)
    suggested, among_others = suggest(posterior, own.labels)
    order = np.lexsort((np.array(train.ids), -fused))  # equal scores: by id, so that the order of rows decides nothing
    return Detection(signals, order, probability, suggested, probability * among_others, votes_array, share)


def load_predictions(workspace: Workspace, split: SplitName, train: Split) -> Predictions:
    table = read_table(workspace.predictions)
    table = table.filter(pc.equal(table["split"], split))
    if split == "train":
        table = _of(workspace, train, table)
    index = {label: position for position, label in enumerate(train.encoding.classes)}
    labels = np.array([index[label] for label in table["label"].to_pylist()], dtype=np.int64)
    return Predictions(table, labels, _rows(table["probabilities"]), _rows(table["features"]))


def _of(workspace: Workspace, train: Split, table: pa.Table) -> pa.Table:
    if table["example_id"].to_pylist() != train.ids:
        raise UserError(
            f"{workspace.split('train')} was prepared anew since the model's artifacts: rerun train and score"
        )
    return table


def _mean_margins(workspace: Workspace, train: Split) -> np.ndarray:
    return _rows(_of(workspace, train, read_table(workspace.epoch_margins))["margins"]).mean(axis=1)


def _column(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table[name].to_numpy()
    return values


def _rows(column: pa.ChunkedArray) -> np.ndarray:
    """Lists of one length as a matrix."""
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    return flat.reshape(len(column), -1).copy()


def _columns(train: Split, detection: Detection, rows: np.ndarray) -> dict[str, object]:
    classes = np.array(train.encoding.classes, dtype=object)
    return {
        "example_id": [train.ids[row] for row in rows],
        "rank": np.arange(1, len(rows) + 1, dtype=np.int32),
        "error_probability": detection.probability[rows].astype(np.float32),
        "given_label": pa.array(classes[train.labels.numpy()[rows]], pa.string()),
        "suggested_label": pa.array(classes[detection.suggested[rows]], pa.string()),
        "suggested_probability": detection.suggested_probability[rows].astype(np.float32),
        **{name: values[rows].astype(np.float32) for name, values in detection.signals.items()},
    }


if __name__ == "__main__":
    main("flag", run)
