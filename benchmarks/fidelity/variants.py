"""`python -m benchmarks variants`: what might have made scores better, beside what is used."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

from benchmarks.fidelity import methods
from benchmarks.fidelity.command import ROOT, WORK, Row, Scorer, about, put
from benchmarks.fidelity.methods import Method, Setting
from benchmarks.fidelity.protocols import PROTOCOLS, Protocol
from benchmarks.fidelity.truth import FIRST_SEED, measure, models_of, read_examples
from influence.fidelity import datamodelling_draws, datamodelling_score, difference, estimate, resample
from influence.problem import TensorData
from influence.retraining import Retraining, Run
from influence.subset import take
from influence.vectors import Vectors
from tasks.artifacts import fingerprint
from tasks.shards import Shards

USED = f"Gauss-Newton, conjugate gradients, {methods.STEPS} steps, as it is used"
THRESHOLDS = (1e-5, 1e-4, 3e-4, 1e-3)  # eigenvalues of EK-FAC below which a direction is dropped
PART = 4  # the curvature of every fourth example
BACK = ((0, 1), (0, 1, 3))  # epochs before the last whose models are scored together


def main(
    protocol: Annotated[str, typer.Option(help=f"Which: {', '.join(PROTOCOLS)}.")] = "a",
    damping: Annotated[float, typer.Option(min=0, help="Absolute: the one chosen on the tuning queries.")] = 0.01,
    reported: Annotated[int | None, typer.Option(min=2, help="Queries measured; none: as the protocol says.")] = None,
    models: Annotated[
        int | None,
        typer.Option(min=1, help="As given to `fidelity`; none: as the protocol says."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = ROOT / "benchmarks/results/fidelity.md",
) -> None:
    """Scores without flat directions, by less curvature, and averaged over the checkpoints of one training.

    Models and predictions are kept in .work/fidelity: run again, only what is missing is computed.
    """
    torch.set_num_threads(1)
    chosen = PROTOCOLS[protocol]
    chosen = replace(chosen, ensemble=models or chosen.ensemble, reported=reported or chosen.reported)
    command = (
        f"INFLUENCE_DATA=<folder> python -m benchmarks variants --protocol {protocol} --damping {damping:g} "
        f"--reported {chosen.reported} --models {chosen.ensemble}"
    )
    section = f"{_section(protocol, chosen, damping)}\n\nMade by `{command}`."
    print(section, flush=True)
    put(output, section)


def _section(name: str, protocol: Protocol, damping: float) -> str:
    truth = measure(name, protocol, WORK)
    scorer = Scorer(name, protocol, truth)
    variants = Variants(damping).methods()
    rows = [Row(title, damping, scorer.predicted(f"variant {title} {damping}", variants[title])) for title in variants]
    backs = sorted({back for group in BACK for back in group})
    trainings = replace(truth, models=_checkpoints(name, protocol, truth.train, backs))
    scorer = Scorer(f"{name}-checkpoints", protocol, trainings)
    solved = methods.gauss_newton(damping, methods.STEPS)
    parts = [scorer.predicted(f"checkpoint {damping}", solved, place) for place in range(len(backs))]
    others = [Row("another training with the same seed: after its last epoch", damping, parts[0])]
    for group in BACK:
        averaged = torch.stack([parts[backs.index(back)] for back in group]).mean(dim=0)
        epochs = ", ".join(str(protocol.recipe.epochs - back) for back in group)
        others.append(Row(f"the same: mean over its models after epochs {epochs}", damping, averaged))
    losses = truth.actual[:, : protocol.reported]
    title, rest = about(protocol, losses, resample(losses.shape[2], losses.shape[1])).split("\n", 1)
    table = _table([rows, others], losses.mean(dim=0))
    return f"{title}: what else was tried\n{rest} Damping {damping:g} throughout.\n\n{table}"


class Variants:
    """Methods that share their solutions.

    Args:
        damping: in absolute units.
    """

    def __init__(self, damping: float) -> None:
        self.damping = damping
        self._solutions: dict[int, Vectors] = {}

    def methods(self) -> dict[str, Method]:
        """By title, the one that is used first."""
        found: dict[str, Method] = {}
        for part, title in ((1, USED), (PART, f"curvature of 1 in {PART} training examples")):
            found[title] = partial(self._scored, part=part, threshold=0.0)
            for threshold in THRESHOLDS:
                name = f"{title if part > 1 else 'as used'}, without directions of eigenvalues below {threshold:g}"
                found[name] = partial(self._scored, part=part, threshold=threshold)
        return found

    def _scored(self, setting: Setting, part: int, threshold: float) -> Tensor:
        if part not in self._solutions:
            examples = take(setting.train, range(0, len(setting.train), part))
            self._solutions[part] = methods.solutions(setting, self.damping, methods.STEPS, examples)

        def kept(eigenvalues: Tensor) -> Tensor:
            return (eigenvalues >= threshold).to(eigenvalues.dtype)

        return setting.scores(setting.ekfac.apply(self._solutions[part], kept))


def _checkpoints(name: str, protocol: Protocol, train: TensorData, backs: list[int]) -> list[nn.Module]:
    """The models of one training so many epochs before its last."""
    retraining = Retraining(protocol.start, protocol.objective, protocol.recipe, partial(read_examples, train))
    shards = Shards(WORK, f"checkpoints-{name}", fingerprint(protocol.title, len(train), torch.__version__))
    run = Run(np.arange(len(train)), FIRST_SEED)

    def train_shard(shard: str) -> Vectors:
        return retraining.train([run], protocol.recipe.epochs - int(shard))

    shards.run([str(back) for back in backs], train_shard)
    return models_of(protocol, [shards.read(str(back)) for back in backs])


def _table(groups: list[list[Row]], actual: Tensor) -> str:
    """Each group beside its own first row."""
    draws = resample(actual.shape[1], actual.shape[0])
    lines = ["| scores | LDS | difference | 95 % interval |", "|---|---|---|---|"]
    for group in groups:
        scored = [
            (datamodelling_score(row.predicted, actual), datamodelling_draws(row.predicted, actual, draws))
            for row in group
        ]
        for row, own in zip(group, scored, strict=True):
            gap = difference(own, scored[0])
            above = [f"{gap.value:+.3f}", f"{gap.low:+.3f} to {gap.high:+.3f}"] if own is not scored[0] else ["", ""]
            lines.append("| " + " | ".join([row.title, f"{estimate(*own).value:.3f}", *above]) + " |")
    return "\n".join(lines)
