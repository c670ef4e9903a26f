"""`python -m benchmarks fidelity`: retrain, score by every method, and write the table."""

import math
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.fidelity import methods
from benchmarks.fidelity.kronfluence import kronfluence_ekfac
from benchmarks.fidelity.methods import Method, Setting
from benchmarks.fidelity.protocols import PROTOCOLS, Protocol
from benchmarks.fidelity.truth import Truth, measure
from influence.fidelity import (
    Draws,
    ceiling,
    ceiling_draws,
    datamodelling_draws,
    datamodelling_score,
    difference,
    estimate,
    resample,
)
from influence.problem import TensorData
from tasks.artifacts import fingerprint, write_text
from tasks.shards import Shards

ROOT = Path(__file__).parent.parent.parent
WORK = ROOT / ".work/fidelity"
EKFAC, EARLY, CONVERGED = "EK-FAC", "Gauss-Newton, conjugate gradients, 8 steps", "Gauss-Newton, to residual .01"
PLAIN: dict[str, Method] = {
    "gradient product": methods.gradient_product,
    "gradient cosine": methods.gradient_cosine,
    "captum TracInCPFast, last layer, final weights": methods.tracin,
    "TRAK, own projection, one model": methods.trak,
}
TARGET = 0.07  # above EK-FAC


@dataclass(frozen=True)
class Row:
    """A line of the table: a method at its damping, what it predicts [Q, M], and of how many models."""

    title: str
    damping: float | None
    predicted: Tensor
    models: int = 1


def main(
    protocols: Annotated[str, typer.Option(help=f"Which, with commas between: {', '.join(PROTOCOLS)}.")] = "a",
    reported: Annotated[int | None, typer.Option(min=2, help="Queries measured; none: as the protocol says.")] = None,
    models: Annotated[
        int | None, typer.Option(min=1, help="Whose scores are averaged, the longest part; none: as the protocol says.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds that every half is trained with.")] = 2,
    output: Annotated[Path, typer.Option(help="Where the tables go.")] = ROOT / "benchmarks/results/fidelity.md",
) -> None:
    """How well scores predict models retrained on random halves: this library and its peers on the same weights.

    Models and predictions are kept in .work/fidelity: run again, only what is missing is computed.
    """
    torch.set_num_threads(1)
    for name in protocols.split(","):
        chosen = PROTOCOLS[name]
        chosen = replace(chosen, seeds=seeds, reported=reported or chosen.reported, ensemble=models or chosen.ensemble)
        command = (
            f"INFLUENCE_DATA=<folder> python -m benchmarks fidelity --protocols {name} --reported {chosen.reported} "
            f"--models {chosen.ensemble} --seeds {seeds}"
        )
        section = f"{_section(name, chosen)}\n\nMade by `{command}`."
        print(section, flush=True)
        put(output, section)


def put(output: Path, section: str) -> None:
    """In place of the section of this title, or behind the others, which stay as they are."""
    _, *others = output.read_text(encoding="utf-8").split("\n## ") if output.exists() else [""]
    sections = {text.splitlines()[0]: text.strip() for text in others}
    sections[section.splitlines()[0].removeprefix("## ")] = section.removeprefix("## ")
    write_text(output, "\n\n## ".join([_heading(), *sections.values()]) + "\n")


def _section(name: str, protocol: Protocol) -> str:
    truth = measure(name, protocol, WORK)
    scorer = Scorer(name, protocol, truth)
    plain = {title: method for title, method in PLAIN.items() if protocol.classifies or method is not methods.trak}
    rows = [Row(title, None, scorer.predicted(title, method)) for title, method in plain.items()]
    best: dict[str, float] = {}
    families: dict[str, Callable[[float], Method]] = {
        EKFAC: methods.ekfac,
        EARLY: partial(methods.gauss_newton, iterations=methods.STEPS),
        CONVERGED: methods.gauss_newton_converged,
    }
    for title, family in families.items():
        best[title] = scorer.tuned(title, {damping: family(damping) for damping in protocol.dampings})
        rows.append(Row(title, best[title], scorer.predicted(f"{title} {best[title]}", family(best[title]))))
    others = [damping for damping in protocol.dampings if damping != best[EKFAC]]
    rows += [Row(EKFAC, damping, scorer.predicted(f"{EKFAC} {damping}", methods.ekfac(damping))) for damping in others]
    theirs = kronfluence_ekfac(best[EKFAC])
    rows.append(Row("kronfluence EK-FAC", best[EKFAC], scorer.predicted("kronfluence", theirs)))
    for title in (EKFAC, EARLY):
        name_of, method = f"{title} {best[title]}", families[title](best[title])
        parts = [scorer.predicted(name_of, method, model) for model in range(len(truth.models))]
        for size in sorted({min(5, len(parts)), len(parts)} - {1}):
            rows.append(Row(title, best[title], torch.stack(parts[:size]).mean(dim=0), size))
    return _table(protocol, truth, rows)


class Scorer:
    """Predictions of methods for the halves, kept on disk."""

    def __init__(self, name: str, protocol: Protocol, truth: Truth) -> None:
        self.protocol, self.truth = protocol, truth
        described = [protocol.title, protocol.subsets, protocol.reported, protocol.tuning, methods.VERSION]
        self.shards = Shards(WORK, f"scores-{name}", fingerprint(described, torch.__version__))
        self._settings: dict[int, Setting] = {}

    def predicted(self, title: str, method: Method, model: int = 0) -> Tensor:
        """For the reported queries, [Q, M]."""
        return self._kept(f"{_slug(title)}-model{model}", method, model, slice(0, self.protocol.reported))

    def tuned(self, title: str, candidates: dict[float, Method]) -> float:
        """The damping that does best on the tuning queries, on the first model: uphill from the middle of the grid."""
        tuning = slice(self.protocol.reported, self.protocol.reported + self.protocol.tuning)
        actual = self.truth.actual.mean(dim=0)[tuning]
        dampings, found = sorted(candidates), dict[int, float]()

        def score(place: int) -> float:
            if not 0 <= place < len(dampings):
                return -math.inf
            if place not in found:
                damping = dampings[place]
                predicted = self._kept(f"tuning-{_slug(title)}-{damping}", candidates[damping], 0, tuning)
                found[place] = datamodelling_score(predicted, actual)
                print(f"{title}, damping {damping}: {found[place]:.3f} on the tuning queries", flush=True)
            return found[place]

        best = len(dampings) // 2
        while (next_best := max((best, best - 1, best + 1), key=score)) != best:
            best = next_best
        return dampings[best]

    def _kept(self, name: str, method: Method, model: int, queries: slice) -> Tensor:
        def compute(_: str) -> dict[str, Tensor]:
            setting = self._setting(model)
            setting.ask(TensorData(self.truth.queries.inputs[queries], self.truth.queries.targets[queries]))
            scores = method(setting)
            return {"predicted": scores.double() @ self.truth.members.double().T}

        self.shards.run([name], compute)
        return self.shards.read(name)["predicted"]

    def _setting(self, model: int) -> Setting:
        if model not in self._settings:
            queries = self.truth.queries
            self._settings = {model: Setting(self.protocol, self.truth.models[model], self.truth.train, queries)}
        return self._settings[model]


def _table(protocol: Protocol, truth: Truth, rows: list[Row]) -> str:
    losses = truth.actual[:, : protocol.reported]
    actual = losses.mean(dim=0)
    draws = resample(actual.shape[1], actual.shape[0])
    scored = [
        (datamodelling_score(row.predicted, actual), datamodelling_draws(row.predicted, actual, draws)) for row in rows
    ]
    base = next(index for index, row in enumerate(rows) if row.title == EKFAC)
    lines = ["| method | damping | models | LDS | 95 % interval | above EK-FAC at its best | 95 % interval |"]
    lines.append("|---|---|---|---|---|---|---|")
    for index in sorted(range(len(rows)), key=lambda position: scored[position][0]):
        row, own, gap = rows[index], estimate(*scored[index]), difference(scored[index], scored[base])
        damping = "" if row.damping is None else f"{row.damping:g}"
        above = ["", ""] if index == base else [f"{gap.value:+.3f}", f"{gap.low:+.3f} to {gap.high:+.3f}"]
        cells = [row.title, damping, str(row.models), f"{own.value:.3f}", f"{own.low:.3f} to {own.high:.3f}", *above]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n\n".join([about(protocol, losses, draws), "\n".join(lines), _verdict(rows, scored, base)])


def about(protocol: Protocol, losses: Tensor, draws: Draws) -> str:
    most = estimate(ceiling(losses), ceiling_draws(losses, draws))
    return (
        f"## {protocol.title}\n\n{protocol.subsets} random halves, {protocol.seeds} seeds each; {protocol.reported} "
        f"queries, measured by {protocol.measurement}; dampings chosen on {protocol.tuning} other queries. Ceiling "
        f"{most.value:.3f} ({most.low:.3f} to {most.high:.3f}): what a perfect prediction would score."
    )


def _verdict(rows: list[Row], scored: list[tuple[float, Tensor]], base: int) -> str:
    own = [index for index, row in enumerate(rows) if row.title in (EARLY, CONVERGED) and row.models == 1]
    best = max(own, key=lambda index: scored[index][0])
    gap = difference(scored[best], scored[base])
    met = gap.value >= TARGET and gap.low > 0
    return (
        f"Single model, {rows[best].title} at damping {rows[best].damping:g}: {gap.value:+.3f} ({gap.low:+.3f} to "
        f"{gap.high:+.3f}) above EK-FAC at its own best damping. Target +{TARGET}, interval above 0: "
        f"{'met' if met else 'missed'}."
    )


def _heading() -> str:
    return (
        "Linear datamodelling score: models are trained again on random halves of the training set, and a method's "
        "sums of scores over each half are ranked against what was measured there; mean of Spearman's correlation over "
        "queries. Every method sees the same weights, queries and halves. Intervals and differences by 1,000 bootstrap "
        f"samples of halves and queries together. {platform.machine()} CPU, torch {torch.__version__}."
    )


def _slug(title: str) -> str:
    return "".join(character if character.isalnum() or character == "." else "-" for character in title)
