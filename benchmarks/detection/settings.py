"""What is measured: data sets, the models trained on them, and the errors in their labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "data/raw/fashion_mnist"
CNN = {"factory": "cnn", "epochs": 12, "batch_size": 64, "learning_rate": 0.05, "weight_decay": 0.001, "patience": 5}
MLP = {"factory": "mlp", "epochs": 20, "batch_size": 64, "learning_rate": 0.02, "weight_decay": 0.0001, "patience": 5}
TEXT = {
    "factory": "text_linear",
    "epochs": 20,
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "weight_decay": 0.0001,
    "patience": 5,
}
NOISY = "-noisy"  # at the end of a setting's name: the validation labels are as wrong as those of training
SUFFIX = ", validation as wrong"  # of its title
LOOKING_THROUGH = 2  # times the time, to find how the validation labels are wrong
SECONDS = {"adult": 6, "enron": 13, "imdb": 20, "fashion": 28, "cifar10n": 44, "fashion-whole": 300}
ADULT_COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
]


@dataclass(frozen=True)
class Setting:
    """One data set with one kind of errors.

    Attributes:
        title: for the table.
        prepare: section of params.yaml, given the folder of all data sets.
        train: section of params.yaml.
        seconds: of CPU that one cell takes, about; the quick ones are measured first.
        human: column of CIFAR-10N's labels that takes the place of the true ones; None: errors are planted.
        retrain: whether cleanlab is also given probabilities of networks trained anew without each fold.
        noisy_validation: whether the validation labels have the same kind and share of errors, or else none.
    """

    title: str
    prepare: Callable[[Path], dict[str, Any]]
    train: dict[str, Any]
    seconds: float = 0.0
    human: str | None = None
    retrain: bool = False
    noisy_validation: bool = False


def fashion(folder: Path) -> dict[str, Any]:
    """The 10,000 pictures of the repository."""
    return {"path": str(BUNDLED), "source": {"kind": "idx"}, "validation": 1000, "test": 1000}


def fashion_whole(folder: Path) -> dict[str, Any]:
    """All 60,000 training pictures."""
    path = folder / "fashion_mnist/train-images-idx3-ubyte.gz"
    return {"path": str(path), "source": {"kind": "idx"}, "validation": 3000, "test": 3000}


def adult(folder: Path) -> dict[str, Any]:
    """8,000 or so of the 32,561 people to train on."""
    source = {"kind": "csv", "label": "income", "columns": ADULT_COLUMNS, "missing": "impute"}
    return {"path": str(folder / "adult/adult.data.gz"), "source": source, "validation": 1000, "test": 0.72}


def enron(folder: Path) -> dict[str, Any]:
    source = {"kind": "parquet", "label": "label", "text": "text", "max_text_features": 2000}
    return {"path": str(folder / "enron1/enron1.parquet"), "source": source, "validation": 0.1, "test": 0.1}


def imdb(folder: Path) -> dict[str, Any]:
    """5,000 or so of the 25,000 reviews to train on."""
    source = {"kind": "parquet", "label": "label", "text": "text", "id": "id", "max_text_features": 2000}
    return {"path": str(folder / "imdb/train.parquet"), "source": source, "validation": 1000, "test": 0.76}


def cifar(folder: Path) -> dict[str, Any]:
    """8,000 pictures to train on, of the 50,000 that people labelled again."""
    source = {"kind": "function", "function": "benchmarks.detection.cifar:some", "arguments": {"examples": 10_000}}
    return {"path": str(folder / "cifar10/train.parquet"), "source": source, "validation": 1000, "test": 1000}


def planted(prepare: Callable[[Path], dict[str, Any]], kind: str, share: float) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {**prepare(folder), "corruption": {"kind": kind, "share": share}}


def _settings() -> dict[str, Setting]:
    """All of them, the quick ones first."""
    found: dict[str, Setting] = {}
    data = {
        "adult": ("Adult", adult, MLP, (0.1,), SECONDS["adult"]),
        "enron": ("Enron", enron, TEXT, (0.1,), SECONDS["enron"]),
        "imdb": ("IMDB", imdb, TEXT, (0.1,), SECONDS["imdb"]),
        "fashion": ("Fashion-MNIST, bundled", fashion, CNN, (0.1, 0.05, 0.2), SECONDS["fashion"]),
        "fashion-whole": ("Fashion-MNIST, 60,000", fashion_whole, CNN, (0.1,), SECONDS["fashion-whole"]),
    }
    for name, (title, prepare, train, shares, cpu) in data.items():
        # Of two classes each has one other: pair errors are uniform ones.
        kinds = ("uniform", "pair", "feature") if train is CNN else ("uniform", "feature")
        for share in shares:
            for kind in kinds:
                found[f"{name}-{kind}-{round(100 * share)}"] = Setting(
                    f"{title}, {share:.0%} {kind}",
                    planted(prepare, kind, share),
                    train,
                    cpu,
                    retrain=name == "fashion" and share == 0.1,
                )
    for column in ("aggre", "random1", "worst"):
        label = {"aggre": "aggre_label", "random1": "random_label1", "worst": "worse_label"}[column]
        found[f"cifar10n-{column}"] = Setting(
            f"CIFAR-10N, {column}", cifar, {**CNN, "epochs": 15}, SECONDS["cifar10n"], human=label
        )
    for name in [name for name in found if name.endswith("-10") or name.startswith("cifar10n")]:
        if not name.startswith("fashion-whole"):
            setting = found[name]
            title = setting.title + SUFFIX
            seconds = LOOKING_THROUGH * setting.seconds
            found[f"{name}{NOISY}"] = replace(
                setting, title=title, seconds=seconds, retrain=False, noisy_validation=True
            )
    return dict(sorted(found.items(), key=lambda item: item[1].seconds))


SETTINGS = _settings()
