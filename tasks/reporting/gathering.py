"""Reads the artifacts of every stage before the report into the values of `tasks.reporting.data`."""

import csv
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.artifacts import read_json, read_table
from tasks.history import Run, read_examples
from tasks.parameters import Parameters
from tasks.reporting.baselines import computed, detections, ranks, shared
from tasks.reporting.data import ClassCount, EpochRow, Finding, Flag, Neighbour, Query, ReportData, SliceCount
from tasks.reporting.exhibits import Gallery, load_gallery
from tasks.reporting.since import Since, compare
from tasks.workspace import SPLITS, SplitName, Workspace

QUERIES_SHOWN = 6
NEIGHBOURS_SHOWN = 6  # helpful and harmful, of each query
PAIRS_SHOWN = 6
SLICE_COLUMNS_SHOWN = 6
SLICE_VALUES_SHOWN = 8
FINDINGS_SHOWN = 8  # of each kind
PICTURE_BUDGET = 2**22  # characters of the pictures that only the table shows


def gather(workspace: Workspace, parameters: Parameters, run: Run) -> ReportData:
    """Read the artifacts of every stage before the report.

    Args:
        workspace: that holds them.
        parameters: all of params.yaml.
        run: the record of them in the history.

    Raises:
        UserError: an artifact is missing or damaged.
    """
    signals = read_table(workspace.signals)
    truth = _planted_labels(workspace)
    since = compare(workspace, run, parameters.report.drift)
    scores = computed(signals)
    flags = _flags(workspace, run, signals, truth, since)
    cards = flags[: parameters.report.pictures]
    queries = _queries(workspace)
    gallery = _gallery(workspace, cards, queries)
    encoding, model, curvature, validation = map(
        read_json,
        (workspace.encoding, workspace.model_metrics, workspace.curvature_report, workspace.validation_metrics),
    )
    flagged_ids = pa.array([flag.example_id for flag in flags], pa.string())
    flagged = _member(signals["example_id"], flagged_ids)
    planted = _member(signals["example_id"], pa.array(list(truth), pa.string()))
    return ReportData(
        title=parameters.report.title,
        parameters=parameters,
        kind=encoding["kind"],
        shape=encoding["shape"],
        flags=flags,
        cards=cards,
        expected_errors=float(sum(flag.error_probability for flag in flags if not flag.judged)),
        estimated_errors=sum(group.expected_errors for group in run.groups if group.column is None),
        validation_trusted=read_json(workspace.flag_metrics)["validation_trusted"],
        shared=shared(scores, flagged),
        since=since,
        pairs=_pairs(flags),
        findings=_findings(workspace),
        classes=_class_counts(workspace, encoding["classes"], flags),
        slices=_slice_counts(workspace, flagged_ids),
        model=model,
        scores={split: _split_scores(model, split) for split in SPLITS},
        curve=_curve(workspace),
        curvature=curvature,
        validation=validation,
        self_influence=signals["self_influence"].to_numpy(),
        flagged=flagged,
        queries=queries,
        planted=len(truth),
        planted_flagged=sum(flag.true_label is not None for flag in flags),
        detections=detections(scores, signals["rank"].to_numpy(), planted),
        training_labels=_evidence_labels(workspace, cards),
        gallery=gallery,
        other_flags=_other_flags(workspace, encoding["kind"], flags, cards, gallery),
    )


def _member(ids: pa.ChunkedArray, chosen: pa.Array) -> np.ndarray:
    return np.asarray(pc.is_in(ids, value_set=chosen).to_numpy(), dtype=bool)


def _planted_labels(workspace: Workspace) -> dict[str, str]:
    """The true label of every training example whose label was changed on purpose and not mended by a verdict."""
    truth = read_table(workspace.truth)
    planted = truth.filter(truth["planted"])
    true = dict(zip(planted["example_id"].to_pylist(), planted["true_label"].to_pylist(), strict=True))
    training = read_table(workspace.split("train"), ["example_id", "label"])
    learned = dict(zip(training["example_id"].to_pylist(), training["label"].to_pylist(), strict=True))
    return {name: label for name, label in true.items() if learned.get(name, label) != label}


def _flags(workspace: Workspace, run: Run, signals: pa.Table, truth: dict[str, str], since: Since) -> list[Flag]:
    examples = read_examples(workspace, run.identity)
    judged = set(examples.filter(examples["judged"])["example_id"].to_pylist())
    new = since.flags.new if since.flags is not None else frozenset[str]()
    place = {example_id: row for row, example_id in enumerate(signals["example_id"].to_pylist())}
    by_signal = ranks(computed(signals))
    flags = [
        Flag(
            rank=row["rank"],
            example_id=row["example_id"],
            given=row["given_label"],
            suggested=row["suggested_label"],
            error_probability=row["error_probability"],
            loss=row["loss"],
            self_influence=row["self_influence"],
            reason=row["reason"],
            evidence_for=row["evidence_for"] or [],
            evidence_against=row["evidence_against"] or [],
            true_label=truth.get(row["example_id"]),
            ranks={name: int(rank[place[row["example_id"]]]) for name, rank in by_signal.items()},
            judged=row["example_id"] in judged,
            new=row["example_id"] in new,
        )
        for row in read_table(workspace.flags).to_pylist()
    ]
    return sorted(flags, key=lambda flag: flag.rank)


def _pairs(flags: list[Flag]) -> list[tuple[str, str, int]]:
    counted = Counter((flag.given, flag.suggested) for flag in flags if flag.given != flag.suggested)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [(given, suggested, n) for (given, suggested), n in ordered[:PAIRS_SHOWN]]


def _findings(workspace: Workspace) -> dict[str, tuple[int, list[Finding]]]:
    """How many findings of each kind there are, and the strongest of them."""
    rows = read_table(workspace.findings).to_pylist()
    kinds = dict.fromkeys(row["kind"] for row in rows)
    mine = {kind: [row for row in rows if row["kind"] == kind] for kind in kinds}
    return {
        kind: (
            len(found),
            [
                Finding(row["example_id"], row["other_id"], row["group"], row["finding"])
                for row in found[:FINDINGS_SHOWN]
            ],
        )
        for kind, found in mine.items()
    }


def _class_counts(workspace: Workspace, classes: list[str], flags: list[Flag]) -> list[ClassCount]:
    splits = {name: Counter(read_table(workspace.split(name), ["label"])["label"].to_pylist()) for name in SPLITS}
    flagged = Counter(flag.given for flag in flags)
    return [ClassCount(label, {name: splits[name][label] for name in SPLITS}, flagged[label]) for label in classes]


def _slice_counts(workspace: Workspace, flagged: pa.Array) -> list[SliceCount]:
    """The most frequent values of the slice columns, with the flags among them."""
    path = workspace.split("train")
    read_table(path, ["example_id"])  # its error, if the file is missing, is the one to show
    names = [name for name in pq.read_schema(path).names if name.startswith("slice_")][:SLICE_COLUMNS_SHOWN]
    if not names:
        return []
    table = read_table(path, ["example_id", *names])
    is_flagged = _member(table["example_id"], flagged)
    counts = []
    for name in names:
        values = ["missing" if value is None else value for value in table[name].to_pylist()]
        total = Counter(values)
        suspect = Counter(value for value, chosen in zip(values, is_flagged, strict=True) if chosen)
        frequent = sorted(total, key=lambda value: (-total[value], value))[:SLICE_VALUES_SHOWN]
        counts += [SliceCount(name.removeprefix("slice_"), v, total[v], suspect[v]) for v in frequent]
    return counts


def _split_scores(model: dict[str, Any], split: SplitName) -> dict[str, float]:
    """Loss and accuracy of a split, written as {split: {loss: ...}} or as {split_loss: ...}."""
    section = model.get(split)
    nested = section if isinstance(section, dict) else {}
    found = {key: nested.get(key, model.get(f"{split}_{key}")) for key in ("loss", "accuracy")}
    return {key: value for key, value in found.items() if isinstance(value, int | float)}


def _evidence_labels(workspace: Workspace, cards: list[Flag]) -> dict[str, str]:
    shown = pa.array(sorted({i for card in cards for i in [*card.evidence_for, *card.evidence_against]}), pa.string())
    training = read_table(workspace.split("train"), ["example_id", "label"])
    chosen = training.filter(pc.is_in(training["example_id"], value_set=shown))
    return dict(zip(chosen["example_id"].to_pylist(), chosen["label"].to_pylist(), strict=True))


def _curve(workspace: Workspace) -> list[EpochRow]:
    if not workspace.loss_curve.exists():  # a checkpoint was given: nothing was trained
        return []
    with workspace.loss_curve.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        EpochRow(int(row["epoch"]), split, float(row[f"{split}_loss"]))
        for split in ("train", "validation")
        for row in rows
    ]


def _queries(workspace: Workspace) -> list[Query]:
    """The misread queries of largest loss, or where all are read well, those of largest loss."""
    top = read_table(workspace.top)
    columns = ["example_id", "split", "label", "predicted", "loss"]
    predictions = read_table(workspace.predictions, columns)
    asked = predictions.filter(pc.is_in(predictions["example_id"], value_set=pc.unique(top["query_id"]))).to_pylist()
    asked = [row for row in asked if row["split"] == "validation"]
    asked.sort(key=lambda row: (row["label"] == row["predicted"], -row["loss"], row["example_id"]))
    shown = asked[:QUERIES_SHOWN]
    ids = pa.array([row["example_id"] for row in shown], pa.string())
    chosen = pc.and_(pc.is_in(top["query_id"], value_set=ids), pc.less_equal(top["rank"], NEIGHBOURS_SHOWN))
    rows = sorted(top.filter(chosen).to_pylist(), key=lambda row: row["rank"])
    neighbour_ids = pa.array([row["example_id"] for row in rows], pa.string())
    training = predictions.filter(pc.is_in(predictions["example_id"], value_set=neighbour_ids)).to_pylist()
    labels = {row["example_id"]: row["label"] for row in training}

    def tail(query_id: str, name: str) -> list[Neighbour]:
        mine = [row for row in rows if row["query_id"] == query_id and row["tail"] == name]
        return [Neighbour(r["example_id"], labels.get(r["example_id"], "?"), r["influence"]) for r in mine]

    return [
        Query(
            example_id=row["example_id"],
            label=row["label"],
            predicted=row["predicted"],
            loss=row["loss"],
            helpful=tail(row["example_id"], "helpful"),
            harmful=tail(row["example_id"], "harmful"),
        )
        for row in shown
    ]


def _gallery(workspace: Workspace, cards: list[Flag], queries: list[Query]) -> Gallery:
    """The cards and the queries with their evidence."""
    training = {flag.example_id for flag in cards}
    for flag in cards:
        training.update(flag.evidence_for, flag.evidence_against)
    for query in queries:
        training.update(neighbour.example_id for neighbour in [*query.helpful, *query.harmful])
    return load_gallery(workspace, {"train": training, "validation": {query.example_id for query in queries}})


def _other_flags(workspace: Workspace, kind: str, flags: list[Flag], cards: list[Flag], gallery: Gallery) -> Gallery:
    """The flags without a card; pictures only of as many as a page can hold, the most suspect."""
    others = [flag.example_id for flag in flags[len(cards) :]]
    if kind == "image":
        size = max((len(picture.uri) for picture in gallery.pictures), default=PICTURE_BUDGET)
        others = others[: PICTURE_BUDGET // size]
    return load_gallery(workspace, {"train": others})
