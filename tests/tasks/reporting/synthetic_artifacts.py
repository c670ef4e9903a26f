"""A workspace as the stages before the report leave it: real pictures, a vote of neighbours for a model."""

import csv
import gzip
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.artifacts import (
    APPLIED,
    FINDINGS,
    FLAGS,
    PREDICTIONS,
    SELF_INFLUENCE,
    SIGNALS,
    SPARSE,
    TOP,
    TRUTH,
    prepared_schema,
    write_json,
    write_table,
    write_text,
)
from tasks.workspace import Workspace

RAW = Path(__file__).parents[3] / "data/raw/fashion_mnist"
CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
WORDS = ["the", "film", "was", "slow", "quiet", "story", "of", "two", "sisters", "and", "an", "old", "house"]

VALIDATION = {
    "verdict": "Scores rank 10 random halves with LDS 0.48 ± 0.03 over 20 queries; <b>ceiling</b> 0.62.",
    "warnings": ["the scores are not measurably better than the gradient product"],
    "queries": 20,
    "method": "retraining on random halves",
    "subsets": 10,
    "seeds": 2,
    "epochs": 9,
    "scores": {
        "influence": {"value": 0.48, "low": 0.45, "high": 0.51},
        "gradient_product": {"value": 0.16, "low": 0.1, "high": 0.22},
        "similarity": {"value": 0.21, "low": 0.12, "high": 0.3},
    },
    "above": {
        "gradient_product": {"value": 0.32, "low": 0.25, "high": 0.38},
        "similarity": {"value": 0.27, "low": 0.2, "high": 0.34},
    },
    "ceiling": {"value": 0.62, "low": 0.55, "high": 0.69},
    "solver": {"converged": 20, "largest_residual": 0.1, "median_residual": 0.08, "damping": 0.00231},
}


@dataclass
class Recipe:
    """What to make. `labels`, `texts` and `ids` replace made-up ones, to try hostile values."""

    kind: str = "image"
    train: int = 600
    held_out: int = 60
    planted: int = 30
    flagged: int = 30
    validation_trusted: bool = True
    evidence: int = 5
    classes: list[str] = field(default_factory=lambda: list(CLASSES))
    texts: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    image_size: int = 28
    no_folds: bool = False
    findings: int = 10  # pairs of near-duplicates
    slices: dict[str, list[str]] = field(default_factory=dict)
    parameters: dict[str, object] = field(default_factory=dict)


def build_workspace(root: Path, recipe: Recipe) -> Workspace:
    """Write every artifact that the report reads."""
    workspace = Workspace(root)
    rng = np.random.default_rng(0)
    total = recipe.train + 2 * recipe.held_out
    images, labels = read_fashion_mnist(total)
    labels = labels % len(recipe.classes)
    ids = (recipe.ids + [f"{i:05d}-example" for i in range(total)])[:total]
    true_labels = labels.copy()
    planted = np.zeros(total, bool)
    planted[rng.choice(recipe.train, recipe.planted, replace=False)] = True
    labels[planted] = (labels[planted] + rng.integers(1, len(recipe.classes), recipe.planted)) % len(recipe.classes)
    bounds = {"train": (0, recipe.train)}
    bounds["validation"] = (recipe.train, recipe.train + recipe.held_out)
    bounds["test"] = (bounds["validation"][1], total)
    features = images.reshape(total, -1).astype(np.float32) / 255
    neighbours = nearest(features, features[: recipe.train])
    model = judge(labels, neighbours, len(recipe.classes))
    _write_parameters(workspace, recipe)
    _write_prepared(workspace, recipe, rng, ids, images, labels, bounds)
    _write_truth(workspace, recipe, ids, true_labels, planted)
    _write_model(workspace, recipe, ids, labels, model, features, bounds)
    _write_scores(workspace, recipe, ids, labels, model, neighbours, bounds)
    _write_flags(workspace, recipe, ids, labels, model, neighbours)
    return workspace


def read_fashion_mnist(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images, uint8 [N, 28, 28], and labels, int64 [N], of the bundled data."""
    with gzip.open(RAW / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(RAW / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    repeats = -(-count // len(images))
    return np.tile(images, (repeats, 1, 1))[:count], np.tile(labels, repeats)[:count]


def nearest(queries: np.ndarray, training: np.ndarray, k: int = 20) -> np.ndarray:
    """Positions of the k nearest training rows of every query but itself, int [Q, k], the nearest first."""
    if len(queries) > 3000:  # for tests of size, where any neighbours do
        return (np.arange(len(queries))[:, None] * 7 + np.arange(1, k + 1) * 13) % len(training)
    squared = (queries**2).sum(1)[:, None] + (training**2).sum(1)[None] - 2 * queries @ training.T
    squared[np.arange(len(training)), np.arange(len(training))] = np.inf
    return np.argsort(squared, axis=1, kind="stable")[:, :k]


def judge(labels: np.ndarray, neighbours: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """What a vote of the neighbours says of every example."""
    votes = np.stack([(labels[neighbours] == c).mean(1) for c in range(classes)], axis=1)
    probabilities = (votes + 0.02) / (1 + 0.02 * classes)
    own = probabilities[np.arange(len(labels)), labels]
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = 0
    spread = np.random.default_rng(1).lognormal(0, 0.8, len(labels))
    return {
        "probabilities": probabilities,
        "predicted": probabilities.argmax(1),
        "loss": -np.log(own),
        "margin": np.log(own) - np.log(others.max(1)),
        "suggested": others.argmax(1),
        "suspicion": others.max(1) / (others.max(1) + own),
        "self_influence": 1e-4 * (1 - own) ** 2 * spread + 1e-7,
    }


def _write_parameters(workspace: Workspace, recipe: Recipe) -> None:
    parameters = {
        "prepare": {"path": "data/raw/fashion_mnist", "source": {"kind": "idx"}, "corruption": 0.05},
        **recipe.parameters,
    }
    write_text(workspace.parameters, json.dumps(parameters))  # JSON is YAML


def _write_prepared(workspace, recipe, rng, ids, images, labels, bounds):  # type: ignore[no-untyped-def]
    names = np.array(recipe.classes, object)
    for split, (start, stop) in bounds.items():
        rows = range(start, stop)
        display: list[str | None] = [None] * len(rows)
        if recipe.kind == "image":
            grown = images[start:stop]
            if recipe.image_size != 28:
                picks = np.linspace(0, 27, recipe.image_size).round().astype(int)
                grown = grown[:, picks][:, :, picks]
            channels = 1 if recipe.image_size == 28 else 3
            inputs = tensors(np.repeat(grown[:, None], channels, axis=1))
        elif recipe.kind == "table":
            inputs = tensors(rng.random((len(rows), 12)).astype(np.float32))
            display = [json.dumps(_row(i, recipe)) for i in rows]
        else:
            inputs = pa.array([{"indices": [0], "values": [1.0]}] * len(rows), SPARSE)
            made_up = [" ".join(rng.choice(WORDS, 60)) for _ in rows]
            display = [recipe.texts[i] if i < len(recipe.texts) else made_up[i - start] for i in rows]
        columns = {
            "example_id": ids[start:stop],
            "input": inputs,
            "display": pa.array(display, pa.string()),
            "label": names[labels[start:stop]],
            "given_label": names[labels[start:stop]],
            **{f"slice_{name}": [values[i % len(values)] for i in rows] for name, values in recipe.slices.items()},
        }
        write_table(workspace.split(split), pa.table(columns), prepared_schema(inputs.type, recipe.slices))
    shape = {"image": [1, 28, 28], "table": [12], "text": [500]}[recipe.kind]
    encoding = {"kind": recipe.kind, "classes": recipe.classes, "shape": shape, "details": {}}
    write_json(workspace.encoding, encoding)
    write_table(workspace.applied_verdicts, APPLIED.empty_table(), APPLIED)


def _row(position: int, recipe: Recipe) -> dict[str, object]:
    values = recipe.texts[position] if position < len(recipe.texts) else "private"
    row: dict[str, object] = {
        "age": 20 + position % 50,
        "workclass": values,
        "education": "Bachelors",
        "gain": None,
    }
    return {**row, **{f"measure {i}": round(position * 0.37 + i, 2) for i in range(8)}}


def tensors(rows: np.ndarray) -> pa.ExtensionArray:
    """Rows [N, ...] as a column of tensors of one shape."""
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(rows.dtype), rows.shape[1:])
    size = int(np.prod(rows.shape[1:]))
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), size))


def _write_truth(workspace, recipe, ids, true_labels, planted):  # type: ignore[no-untyped-def]
    n = recipe.train
    columns = {
        "example_id": ids[:n],
        "true_label": [recipe.classes[c] for c in true_labels[:n]],
        "planted": planted[:n],
    }
    write_table(workspace.truth, pa.table(columns), TRUTH)


def _write_model(workspace, recipe, ids, labels, model, features, bounds):  # type: ignore[no-untyped-def]
    splits = [split for split, (start, stop) in bounds.items() for _ in range(start, stop)]
    columns = {
        "example_id": ids,
        "split": splits,
        "label": [recipe.classes[c] for c in labels],
        "predicted": [recipe.classes[c] for c in model["predicted"]],
        "loss": model["loss"],
        "margin": model["margin"],
        "probabilities": list(model["probabilities"]),
        "features": list(features[:, ::100]),
    }
    write_table(workspace.predictions, pa.table(columns), PREDICTIONS)
    right = model["predicted"] == labels
    scores = {
        split: {"loss": float(model["loss"][a:b].mean()), "accuracy": float(right[a:b].mean())}
        for split, (a, b) in bounds.items()
    }
    write_json(workspace.model_metrics, {"epochs": 14, "best_epoch": 9, "parameters": 61706, **scores})
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy"])
    for epoch in range(1, 15):
        validation = round(0.42 + 0.6 / epoch + 0.004 * (epoch - 9) ** 2 / 3, 4)
        rows.writerow([epoch, round(0.25 + 0.9 / epoch, 4), validation, 0.9, 0.85])
    write_text(workspace.loss_curve, text.getvalue())


def _write_scores(workspace, recipe, ids, labels, model, neighbours, bounds):  # type: ignore[no-untyped-def]
    n = recipe.train
    columns = {
        "example_id": ids[:n],
        "self_influence": model["self_influence"][:n],
        "influence_on_errors": -model["self_influence"][:n] / 3,
        "leave_one_out_loss": model["loss"][:n] * 1.1,
    }
    write_table(workspace.self_influence, pa.table(columns), SELF_INFLUENCE)
    start, stop = bounds["validation"]
    queries = sorted(range(start, stop), key=lambda q: -model["loss"][q])[:20]
    rows = []
    for query in queries:
        for tail, sign in (("helpful", 1.0), ("harmful", -1.0)):
            same = [i for i in neighbours[query] if (labels[i] == labels[query]) == (sign > 0)]
            rows += [
                {
                    "query_id": ids[query],
                    "example_id": ids[position],
                    "influence": sign * 3.1e-3 / rank**0.7,
                    "tail": tail,
                    "rank": rank,
                }
                for rank, position in enumerate(same, start=1)
            ]
    write_table(workspace.top, pa.Table.from_pylist(rows, TOP), TOP)
    solver = {
        "damping": 0.00231,
        "mean_eigenvalue": 0.0231,
        "queries": 20,
        "converged": 19,
        "tolerance": 0.1,
        "median_residual": 0.08,
        "largest_residual": 0.21,
        "median_iterations": 12,
        "largest_iterations": 27,
        "operator_products": 540,
    }
    write_json(workspace.curvature_report, solver)
    write_json(workspace.validation_metrics, VALIDATION)


def _write_flags(workspace, recipe, ids, labels, model, neighbours):  # type: ignore[no-untyped-def]
    n = recipe.train
    order = np.lexsort((np.arange(n), -model["loss"][:n], -model["suspicion"][:n]))
    names = np.array(recipe.classes, object)
    against = 1 - (labels[neighbours] == labels[:, None]).mean(1)
    columns = {
        "example_id": np.array(ids, object)[order],
        "rank": np.arange(1, n + 1),
        "error_probability": model["suspicion"][order],
        "given_label": names[labels[order]],
        "suggested_label": names[model["suggested"][order]],
        "suggested_probability": model["probabilities"].max(1)[order],
        "loss": model["loss"][order],
        "negative_margin": -model["margin"][order],
        "negative_mean_margin": -model["margin"][order] / 2,
        "self_influence": model["self_influence"][order],
        "validation_harm": model["self_influence"][order] / 3,
        "leave_one_out_loss": model["loss"][order] * 1.1,
        "neighbour_disagreement": against[order],
        "duplicate_conflict": np.zeros(n),
        "confident_learning": pa.nulls(n, pa.float32()) if recipe.no_folds else against[order],
        "error_log_odds": np.log(model["suspicion"][order]) - np.log1p(-model["suspicion"][order]),
        "model_error_log_odds": model["suspicion"][order],
        "mean_margin_log_odds": model["suspicion"][order],
        "fused_log_odds": model["suspicion"][order],
    }
    write_table(workspace.signals, pa.table(columns), SIGNALS)
    chosen = order[: recipe.flagged]

    def evidence(example: int, speaks_for: bool) -> list[str]:
        agree = [i for i in neighbours[example] if (labels[i] == labels[example]) == speaks_for]
        return [ids[i] for i in agree[: recipe.evidence]]

    columns: dict[str, object] = {name: values[: recipe.flagged] for name, values in columns.items()}
    columns["opponents_suggested"] = np.full(recipe.flagged, 0.6)
    columns["reason"] = [
        f"{round(20 * against[i])} of its 20 nearest neighbours have another label, most of them "
        f"{names[model['suggested'][i]]}; its loss is {model['loss'][i]:.1f} nats."
        for i in chosen
    ]
    columns["evidence_for"] = pa.array([evidence(i, True) for i in chosen], pa.list_(pa.string()))
    columns["evidence_against"] = pa.array([evidence(i, False) for i in chosen], pa.list_(pa.string()))
    write_table(workspace.flags, pa.table(columns), FLAGS)
    write_table(workspace.findings, pa.Table.from_pylist(_findings(recipe, ids), FINDINGS), FINDINGS)
    write_json(workspace.flag_metrics, {"flagged": recipe.flagged, "validation_trusted": recipe.validation_trusted})


def _findings(recipe: Recipe, ids: list[str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {
            "kind": "conflict",
            "example_id": ids[i],
            "other_id": ids[i + 1],
            "value": 0.01,
            "finding": "not the same label",
        }
        for i in range(recipe.findings)
    ]
    if recipe.findings:
        rows.append({"kind": "class", "group": recipe.classes[0], "value": 0.2, "finding": "20 % of it are flagged"})
    return rows
