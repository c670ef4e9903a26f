"""How many models a CPU second trains: many at once beside one after the other, by the training of the train stage."""

import itertools
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

from benchmarks.mnist import mnist_folder, read_mnist
from influence.objective import SoftmaxCrossEntropy
from influence.problem import TensorData
from influence.retraining import Retraining, Run
from influence.retraining.descent import Positions
from tasks.artifacts import write_text
from tasks.fitting import recipe
from tasks.models.mlp import mlp
from tasks.parameters import Train

ROOT = Path(__file__).parent.parent
WIDTHS = (784, 128, 64, 10)
TARGET = 5.0


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of MNIST's four files.")] = None,
    examples: Annotated[int, typer.Option(help="Size of the training set; each model sees half of it.")] = 5000,
    epochs: Annotated[int, typer.Option(help="Of each training.")] = 3,
    models: Annotated[int, typer.Option(help="Trained each way.")] = 16,
    repeats: Annotated[int, typer.Option(help="The fastest of these counts.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = ROOT / "benchmarks/results/retraining.md",
) -> None:
    """Models trained in a CPU second, by size of the batch, and how much of that is multiplication."""
    torch.set_num_threads(1)
    train, _ = read_mnist(mnist_folder(data))
    train = TensorData(train.inputs[:examples], train.targets[:examples])
    rows = []
    for batch in (8, 16, 64):
        rows.append(_row(train, batch, epochs, models, repeats))
        print(rows[-1], flush=True)
    command = (
        f"INFLUENCE_DATA=<folder> python -m benchmarks retraining --examples {examples} --epochs {epochs} "
        f"--models {models} --repeats {repeats}"
    )
    text = "\n\n".join([_heading(examples), "\n".join([*HEAD, *rows]), _reading(rows), f"Made by `{command}`.\n"])
    write_text(output, text)
    print(text)


HEAD = [
    "| batch | at once: models / CPU s | loop: models / CPU s | ratio | multiplications alone: models / CPU s | "
    "ratio to the loop, the most there can be | the same in one order for all models |",
    "|---|---|---|---|---|---|---|",
]


def _row(train: TensorData, batch: int, epochs: int, models: int, repeats: int) -> str:
    found = Retraining(start, SoftmaxCrossEntropy(1e-3), recipe(Train(batch_size=batch)), partial(_read, train))
    rng = np.random.default_rng(0)
    runs = [Run(rng.permutation(len(train))[: len(train) // 2], seed) for seed in range(models)]
    at_once = models / _fastest(lambda: [found.train(chunk, epochs) for chunk in found.chunks(runs)], repeats)
    found.together = 1
    loop = models / _fastest(lambda: [found.train([run], epochs) for run in runs], repeats)
    steps = epochs * -(-(len(train) // 2) // batch)
    products = 1 / (steps * _fastest(_products(batch), 20 * repeats))
    together = models / (steps * _fastest(_shared_products(batch, models), 2 * repeats))
    cells = [f"{at_once:.2f}", f"{loop:.2f}", f"{at_once / loop:.2f}", f"{products:.2f}"]
    cells += [f"{products / loop:.2f}", f"{together / loop:.2f}"]
    return f"| {batch} | " + " | ".join(cells) + " |"


def start(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return mlp((784,), 10)


def _read(train: TensorData, positions: Positions) -> tuple[Tensor, Tensor]:
    return train.inputs[positions], train.targets[positions]


def _products(batch: int) -> Callable[[], object]:
    """The matrix products of one step of one model: forwards, for the weights, and for the inputs but the first."""
    sides = list(itertools.pairwise(WIDTHS))
    parts = [
        (torch.randn(batch, inner), torch.randn(outer, inner), torch.randn(batch, outer)) for inner, outer in sides
    ]

    def multiply() -> object:
        return [
            (inputs @ weight.T, gradient.T @ inputs, gradient @ weight if index else None)
            for index, (inputs, weight, gradient) in enumerate(parts)
        ]

    return multiply


def _shared_products(batch: int, models: int) -> Callable[[], object]:
    """The same for all models at once, where one batch serves them all.

    A batch of so many examples for each model, of which each sees half, holds twice as many, and weighs half of them 0.
    The first layer of all models is one product then; the others multiply outputs of their own.
    """
    first, *later = itertools.pairwise(WIDTHS)
    inputs, weights = torch.randn(2 * batch, first[0]), torch.randn(models * first[1], first[0])
    slopes = torch.randn(2 * batch, models * first[1])
    parts = [
        (
            torch.randn(models, 2 * batch, inner),
            torch.randn(models, outer, inner),
            torch.randn(models, 2 * batch, outer),
        )
        for inner, outer in later
    ]

    def multiply() -> object:
        own = [(value @ weight.mT, slope.mT @ value, slope @ weight) for value, weight, slope in parts]
        return inputs @ weights.T, slopes.T @ inputs, own

    return multiply


def _fastest(call: Callable[[], object], repeats: int) -> float:
    """CPU seconds of the fastest of several runs, after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        begun = time.process_time()
        call()
        seconds.append(time.process_time() - begun)
    return min(seconds[1:])


def _heading(examples: int) -> str:
    return (
        f"MLP {'-'.join(map(str, WIDTHS))} on {examples:,} MNIST images, half of them for each model, SGD with "
        f"momentum and weight decay as the train stage trains. {platform.machine()} CPU, one thread, float32, torch "
        f"{torch.__version__}. CPU seconds by `time.process_time`. Both ways take the same steps on the same examples; "
        "the loop is without what else the train stage does (evaluation after each epoch, reading from files)."
    )


def _reading(rows: list[str]) -> str:
    ratios = {int(row.split("|")[1]): float(row.split("|")[4]) for row in rows}
    most = {int(row.split("|")[1]): float(row.split("|")[6]) for row in rows}
    met = [batch for batch, ratio in ratios.items() if ratio >= TARGET]
    return (
        f"Target {TARGET:g} times the loop: {'met at batch ' + ', '.join(map(str, met)) if met else 'missed'}. What is "
        "gained is the loop's overhead alone, since every model still multiplies its own matrices: at batch 64 those "
        f"alone would train {most[64]:.1f} times as many as the loop. One order of examples for all models makes one "
        "product of their first layers, but twice the examples pass each model, half of them for nothing (last column)."
    )
