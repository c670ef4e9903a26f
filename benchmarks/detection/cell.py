"""One setting at one seed: the stages in a workspace of their own, and what every signal finds."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.detection import validation_noise
from benchmarks.detection.cifar import take_human_labels
from benchmarks.detection.settings import Setting
from influence.objective import SoftmaxCrossEntropy
from tasks import precondition, prepare, score, train
from tasks.artifacts import read_json, read_table
from tasks.dataset import Split, load_split
from tasks.fitting import Fit
from tasks.flag import detect
from tasks.models import build
from tasks.parameters import Parameters, load_parameters
from tasks.reporting.baselines import DETECTORS
from tasks.reporting.detection import Detection, evaluate
from tasks.signals import confident_learning, load_predictions
from tasks.workspace import SplitName, Workspace

BINS = 10  # of equal width, of the expected calibration error
REPORTED = (1, 2, 5, 10, 20)  # percent inspected
FOLDS = 5
RETRAINED = "cleanlab_retrained"  # the name of its signal
KNOWN = "right_labels_known"  # likewise


def parameters(setting: Setting, folder: Path, seed: int) -> dict[str, Any]:
    """The whole of params.yaml."""
    return {
        "seed": seed,
        "compute": {"device": "cpu"},
        "prepare": setting.prepare(folder),
        "train": setting.train,
        # The flags depend on no query, and self-influence hardly on the number of examples in the curvature.
        "precondition": {"curvature_examples": 2000, "queries": {"errors": 1, "sample": 0}},
        "flag": {"folds": FOLDS},
    }


def run(setting: Setting, folder: Path, seed: int) -> dict[str, Any]:
    """Measure one cell.

    Args:
        setting: which.
        folder: of all data sets.
        seed: of split, errors, model and ranking.
    """
    with _prepared(setting, folder, seed) as (workspace, settings):
        for stage in (train, precondition, score):
            stage.run(workspace, settings)
        return measure(workspace, settings)


def run_retrained(setting: Setting, folder: Path, seed: int) -> dict[str, Any]:
    """What cleanlab finds with the probabilities of networks trained anew without each fold."""
    with _prepared(setting, folder, seed) as (workspace, settings):
        return _by_networks(RETRAINED, workspace, load_split(workspace, "train"), settings)


def run_known(setting: Setting, folder: Path, seed: int) -> dict[str, Any]:
    """The same with networks trained on the right labels: what this kind of model could find at best, or nearly so."""
    with _prepared(setting, folder, seed) as (workspace, settings):
        training = load_split(workspace, "train")
        index = {label: position for position, label in enumerate(training.encoding.classes)}
        true = [index[label] for label in read_table(workspace.truth)["true_label"].to_pylist()]
        return _by_networks(KNOWN, workspace, replace(training, labels=torch.tensor(true)), settings)


def _by_networks(name: str, workspace: Workspace, learned: Split, settings: Parameters) -> dict[str, Any]:
    """cleanlab's label quality of the labels that stand there, by networks trained on those of `learned`."""
    wrong = read_table(workspace.truth)["planted"].to_numpy(zero_copy_only=False)
    probabilities = retrained(workspace, learned, settings)
    score = confident_learning(probabilities, load_split(workspace, "train").labels.numpy())
    return _numbers(evaluate({name: score}, wrong)[name])


@contextlib.contextmanager
def _prepared(setting: Setting, folder: Path, seed: int) -> Iterator[tuple[Workspace, Parameters]]:
    """A workspace of its own with its data prepared, the current folder meanwhile."""
    with tempfile.TemporaryDirectory() as root, contextlib.chdir(root), contextlib.redirect_stdout(io.StringIO()):
        workspace = Workspace(Path())
        workspace.parameters.write_text(yaml.safe_dump(parameters(setting, folder, seed)), encoding="utf-8")
        settings = load_parameters(workspace.parameters)
        prepare.run(workspace, settings)
        if setting.human is not None:
            splits: list[SplitName] = ["train", "validation"] if setting.noisy_validation else ["train"]
            take_human_labels(workspace, folder / "cifar10n/labels.parquet", setting.human, splits)
        elif setting.noisy_validation:
            validation_noise.plant(workspace, settings.prepare.corruption, seed)
        yield workspace, settings


def measure(workspace: Workspace, settings: Parameters) -> dict[str, Any]:
    """What the flags and every signal alone find of the errors, and how true the error probabilities are."""
    training = load_split(workspace, "train")
    truth = read_table(workspace.truth)
    wrong, true = truth["planted"].to_numpy(zero_copy_only=False), truth["true_label"].to_pylist()
    found = detect(workspace, settings, training, torch.device("cpu"))
    rank = np.empty(len(training))
    rank[found.order] = np.arange(len(training))
    columns = found.signals.columns
    scores = {"flags": -rank, **{name: columns[column] for name, column in DETECTORS.items() if column in columns}}
    own = load_predictions(workspace, "train", training)
    first = found.order[: int(wrong.sum())]
    predicted = own.probabilities.argmax(axis=1)
    classes = training.encoding.classes
    suggested = np.array([classes[one] == label for one, label in zip(found.suggested, true, strict=True)])
    return {
        "examples": len(training),
        "errors": int(wrong.sum()),
        "test_accuracy": read_json(workspace.model_metrics)["test"]["accuracy"],
        "learned_errors": float((predicted == own.labels)[wrong].mean()),  # training accuracy on the wrong labels
        "calibration_error": calibration_error(found.probability, wrong),
        "expected": float(found.probability[first].sum()),
        "found": int(wrong[first].sum()),
        "suggested_right": float(suggested[wrong].mean()),
        "signals": {name: _numbers(one) for name, one in evaluate(scores, wrong).items()},
    }


def _numbers(found: Detection) -> dict[str, float]:
    return {
        **{f"recall_{percent}": found.recall[percent] for percent in REPORTED},
        "precision": found.precision,
        "auroc": found.auroc,
        "average_precision": found.average_precision,
    }


def calibration_error(probability: np.ndarray, wrong: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015) of the probability that a label is wrong."""
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    return float(sum(abs((probability - wrong)[place == one].sum()) for one in range(BINS)) / len(wrong))


def retrained(workspace: Workspace, training: Split, settings: Parameters) -> np.ndarray:
    """Class probabilities, [N, C], by networks trained as the first was, each without the fold that it speaks of."""
    fold = np.random.default_rng(settings.seed).permutation(len(training)) % FOLDS
    validation = load_split(workspace, "validation")
    found = np.empty((len(training), len(training.encoding.classes)))
    for part in range(FOLDS):
        model = build(settings.train, training.encoding, settings.seed)
        others = training.subset(np.flatnonzero(fold != part))
        objective = SoftmaxCrossEntropy(weight_decay=settings.train.weight_decay)
        fit = Fit(model, objective, others, validation, settings.train, settings.seed, batch_size=512)
        model.load_state_dict(fit.run(lambda state: None).best_weights)
        model.eval()
        rows = np.flatnonzero(fold == part)
        with torch.no_grad():
            parts = [model(inputs).softmax(dim=1) for inputs, _ in training.subset(rows).batches(512)]
        found[rows] = torch.cat(parts).numpy()
    return found
