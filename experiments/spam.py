"""E8: fixing mislabelled examples (Koh & Liang 2017, section 5.4 and figure 6).

A tenth of the labels of e-mails is changed. A person inspects the training e-mails in the order of a score and restores
every changed label met; the paper's model is trained again, and read on the test set. The scores are the paper's,
self-influence and the loss, of the paper's model, a regression on counts of words; others of the same model; those of a
better conditioned one; and the ranking that the pipeline ships. Labels are changed in both classes alike, or of ham
alone.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from experiments.common.enron import load_mails
from experiments.common.experiment import Result, Setting, main
from experiments.common.figures import HARMFUL, HELPFUL, NEUTRAL, panels
from experiments.common.mislabelled import (
    CONDITIONAL,
    FLAGS,
    KINDS,
    LOSS,
    SELF_INFLUENCE,
    UNIFORM,
    Inspection,
    Parameters,
)
from experiments.common.shipped import Shipped
from tasks.progress import Progress
from tasks.reporting.detection import RANDOM, evaluate

INSPECTED = (5, 10, 15, 20, 25, 30)  # per cent of the training set
GRADIENT = "gradient_norm"
COMPARED = {  # scores that are drawn, and how
    SELF_INFLUENCE: ("self-influence (paper)", HELPFUL, "-"),
    LOSS: ("train loss (paper)", "#4dac26", "-"),
    RANDOM: ("random (paper)", NEUTRAL, "-"),
    "leave_one_out_loss": ("leave-one-out loss, one Newton step", HELPFUL, "--"),
    "tfidf_loss": ("train loss, tf-idf", "#4dac26", "--"),
    FLAGS: ("flags of the pipeline", HARMFUL, "-"),
}


def run(setting: Setting, parameters: Parameters) -> Result:
    mails = load_mails(setting.data("enron1"))
    with TemporaryDirectory() as folder:
        inspection = Inspection.of(Shipped(Path(folder), mails, setting.seed), parameters)
        progress = Progress("spam", parameters.seeds, "seeds")
        parts = []
        for number in range(parameters.seeds):
            parts.append(setting.part(f"seed-{number}", partial(once, inspection, number)))
            progress.advance(1)
    found = {kind: summary(kind, parts) for kind in KINDS}
    clean, _ = inspection.accuracy(inspection.train.spam)
    metrics = {
        "n": len(inspection.train),
        "test_examples": len(inspection.test),
        "words": inspection.counts.shape[1],
        "flipped": round(parameters.flipped * len(inspection.train)),
        "seeds": parameters.seeds,
        "test_accuracy_clean": clean,
        "retrain_gradient_norm": max(float(part[key]) for part in parts for key in part if key.endswith(GRADIENT)),
        **_headline(found),
        **found,
    }
    return Result(metrics, _figure(found, clean), _verdict(metrics))


def once(inspection: Inspection, number: int) -> dict[str, Tensor]:
    """What every score finds when labels are changed with one seed, and what fixing them gains."""
    results: dict[str, Tensor] = {}
    for index, kind in enumerate(KINDS):
        generator = np.random.default_rng([number, index])
        labels = inspection.change(kind, generator)
        own = inspection.scores(labels["train"], generator)
        shipped = inspection.shipped.suspicion(labels, number)
        ranked = {**own, FLAGS: shipped.pop(FLAGS)}
        signals = {f"{FLAGS}_{name}": values for name, values in shipped.items()}
        wrong = labels["train"] != inspection.train.spam
        for name, detection in evaluate({**ranked, **signals}, wrong).items():
            results[f"{kind}/{name}/recall"] = torch.tensor([detection.recall[share] for share in INSPECTED])
            results[f"{kind}/{name}/auroc"] = torch.tensor(detection.auroc)
            results[f"{kind}/{name}/average_precision"] = torch.tensor(detection.average_precision)
        drawn = generator.random(len(wrong))
        for name, values in {**ranked, RANDOM: drawn}.items():
            order = np.lexsort((drawn, -values))  # equal scores in random order
            results |= fix(inspection, labels["train"], order, f"{kind}/{name}")
        accuracy, _ = inspection.accuracy(labels["train"])
        results[f"{kind}/test_accuracy_flipped"] = torch.tensor(accuracy)
    return results


def fix(inspection: Inspection, labels: np.ndarray, order: np.ndarray, key: str) -> dict[str, Tensor]:
    """Test accuracy once the changed labels among the first of an order are restored, for each share inspected."""
    retrained = []
    for share in INSPECTED:
        inspected, fixed = order[: round(share / 100 * len(labels))], labels.copy()
        fixed[inspected] = inspection.train.spam[inspected]
        retrained.append(inspection.accuracy(fixed))
    accuracies, norms = zip(*retrained, strict=True)
    return {f"{key}/test_accuracy": torch.tensor(accuracies), f"{key}/{GRADIENT}": torch.tensor(max(norms))}


def summary(kind: str, parts: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Mean and standard error over seeds, by score; of recall and accuracy by per cent inspected."""
    found: dict[str, Any] = {"test_accuracy_flipped": _mean(parts, f"{kind}/test_accuracy_flipped")}
    for key in parts[0]:
        if key.startswith(f"{kind}/") and key.count("/") == 2:
            _, name, measure = key.split("/")
            if measure != GRADIENT:
                found.setdefault(name, {})[measure] = _mean(parts, key)
    return found


def _mean(parts: list[dict[str, Tensor]], key: str) -> Any:
    """[mean, standard error]; a mapping of them by per cent inspected for a vector."""
    values = torch.stack([part[key].double() for part in parts])
    mean, error = values.mean(dim=0), values.std(dim=0) / len(parts) ** 0.5
    if values.dim() == 1:
        return [float(mean), float(error)]
    return {str(share): [float(mean[at]), float(error[at])] for at, share in enumerate(INSPECTED)}


def _headline(found: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that the paper and the target speak of."""
    uniform = found[UNIFORM]
    return {f"recall_{share}_{name}": uniform[name]["recall"][share][0] for name in COMPARED for share in ("10", "15")}


def _figure(found: Mapping[str, Any], clean: float) -> Figure:
    figure, (left, middle, right) = panels(columns=3, width=3.6)
    for axis, kind in ((left, UNIFORM), (middle, CONDITIONAL)):
        _curves(axis, found[kind], "recall", start=[0.0, 0.0])
        axis.set_ylim(0, 1.02)
    _curves(right, found[UNIFORM], "test_accuracy", start=found[UNIFORM]["test_accuracy_flipped"])
    right.axhline(clean, color="black", linewidth=0.8, linestyle=":", label="no label changed")
    left.set_title("Changed labels found,\nof both classes")
    middle.set_title("Changed labels found,\nof ham alone")
    right.set_title("Trained again with those found restored\n(both classes)")
    left.set_ylabel("share of the changed labels")
    right.set_ylabel("test accuracy")
    for axis in (left, middle, right):
        axis.set_xlabel("training e-mails inspected (%)")
        axis.set_xlim(0, max(INSPECTED) + 0.5)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _curves(axis: Axes, found: Mapping[str, Any], measure: str, start: list[float]) -> None:
    """Every compared score with its standard error, from `start` where nothing is inspected."""
    for name, (label, colour, style) in COMPARED.items():
        points = np.array([start, *found[name][measure].values()])
        axis.errorbar(
            [0, *INSPECTED],
            points[:, 0],
            points[:, 1],
            color=colour,
            linestyle=style,
            marker=".",
            linewidth=1.2,
            label=label,
        )


def _verdict(metrics: Mapping[str, Any]) -> str:
    shares = [str(share) for share in INSPECTED]
    uniform, conditional = ({name: metrics[kind][name]["recall"] for name in COMPARED} for kind in KINDS)

    def ordered(recall: Mapping[str, Any]) -> bool:
        return all(recall[SELF_INFLUENCE][at][0] > recall[LOSS][at][0] > recall[RANDOM][at][0] for at in shares)

    both = ordered(uniform), ordered(conditional)
    where = {(True, True): "with either kind of change", (True, False): "where both classes are changed"}
    order = where.get(both, "not everywhere")
    flags, target = uniform[FLAGS], {"10": 0.94, "15": 0.99}
    reached = all(flags[share][0] >= least for share, least in target.items())
    return (
        "The paper's order on the paper's model, influence before loss before chance, holds "
        f"{order}: at 10 % inspected self-influence finds {uniform[SELF_INFLUENCE]['10'][0]:.1%}, the loss "
        f"{uniform[LOSS]['10'][0]:.1%}. It belongs to that badly conditioned model: the plain loss of a regression on "
        f"tf-idf finds {uniform['tfidf_loss']['10'][0]:.1%}. The flags of the pipeline find {flags['10'][0]:.1%}, at "
        f"15 % {flags['15'][0]:.1%} (target 94 % and 99 %: {'reached' if reached else 'missed'}), of changes to ham "
        f"alone {conditional[FLAGS]['10'][0]:.1%} and {conditional[FLAGS]['15'][0]:.1%}."
    )


if __name__ == "__main__":
    main(__name__, Parameters, run)
