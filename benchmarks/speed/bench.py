"""What all jobs share: the models, the prepared data and weights, the scores that are compared afterwards."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks.speed.measure import Cost, measured, report

ModelName = Literal["regression", "mlp", "cnn"]
Examples = tuple[Tensor, Tensor]

DECAY = 0.01  # of the softmax regression
DAMPING = 0.01  # of the networks
WARMING = 16  # examples of the run before the one that counts, for which libraries load what they use


@dataclass(frozen=True)
class Bench:
    """A folder with everything that a job reads, and how much of it.

    Attributes:
        folder: written by `benchmarks.speed.prepare`.
        examples: of the training set that count.
    """

    folder: Path
    examples: int

    def train(self) -> Examples:
        return self._load("train", self.examples)

    def queries(self) -> Examples:
        return self._load("queries", None)

    def model(self, name: ModelName) -> nn.Module:
        model = build(name)
        model.load_state_dict(torch.load(self.folder / f"{name}.pt", weights_only=True))
        return model.eval()

    def keep(self, name: str, scores: Tensor) -> None:
        """Store scores, to be compared with the other side's."""
        torch.save(scores, self.folder / f"{name}.scores")

    def _load(self, part: str, count: int | None) -> Examples:
        stored = torch.load(self.folder / f"{part}.pt", weights_only=True, mmap=True)
        return stored["inputs"][:count].clone(), stored["targets"][:count].clone()


def build(name: ModelName) -> nn.Module:
    """Models of MNIST images [B, 784], untrained."""
    match name:
        case "regression":
            return nn.Linear(784, 10, bias=False)
        case "mlp":
            return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    pixels = nn.Unflatten(1, (1, 28, 28))
    first = (nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(pixels, *first, *second, nn.Flatten(), nn.Linear(1600, 112), nn.ReLU(), nn.Linear(112, 10))


def run_job(jobs: Mapping[str, Callable[[Bench], Cost]]) -> None:
    """Run the job that the command line names, in this process alone, on one thread, and report its second run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=list(jobs))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    jobs[given.job](Bench(given.folder, WARMING))
    report(jobs[given.job](Bench(given.folder, given.examples)))


def scored(bench: Bench, name: str, job: Callable[[], Tensor]) -> Cost:
    """The cost of a job, whose scores are kept under this name."""
    scores, cost = measured(job)
    bench.keep(name, scores)
    return cost
