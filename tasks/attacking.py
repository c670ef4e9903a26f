"""Attacks on one model with ever more training images, and what the same number does by chance or by a wrong label."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.attack import (
    ROUNDING,
    Attacked,
    Extract,
    Goals,
    attack,
    misread,
    most_exposed,
    random_change,
    worst_labels,
)
from influence.retraining.top_layer import TopLayer

COUNTS = (1, 2, 3, 5, 10)  # training images that may be changed


@dataclass(frozen=True)
class Outcome:
    """What the attacks on T queries achieved.

    Attributes:
        attack, random, label_flip: the fewest images that flip each query, int64 [T]; 0 where no number tried does.
        first: position of the training image that was changed first, [T].
        change: of that image in the last attack, in levels, [T, C, H, W].
        largest: change of any pixel, in levels.
    """

    attack: Tensor
    random: Tensor
    label_flip: Tensor
    first: Tensor
    change: Tensor
    largest: float


class Attacker:
    """All that the attacks on one model share.

    Args:
        extract: the features that stay as they are.
        top: trained on those of the training images.
        images: the training images, uint8 [N, C, H, W].
        seed: of the random control.
        batch: images that go through the network at once when those to change are chosen.
        shortlist: see `most_exposed`.
        step, iterations, largest: see `attack`.

    Attributes:
        counts: numbers of images tried, rising.
    """

    def __init__(
        self,
        extract: Extract,
        top: TopLayer,
        images: Tensor,
        seed: int,
        batch: int = 256,
        shortlist: int | None = None,
        step: float = 0.02,
        iterations: int = 100,
        largest: float = ROUNDING,
    ) -> None:
        self.extract, self.top, self.images, self.batch, self.shortlist = extract, top, images, batch, shortlist
        self.step, self.iterations, self.largest = step, iterations, largest
        self.counts = [count for count in COUNTS if count <= len(images)]
        self._generator = torch.Generator().manual_seed(seed)

    def run(self, goals: Goals, tell: Callable[[int], None] = lambda flipped: None) -> Outcome:
        """Attack T queries, each alone, with ever more images until it flips; the controls go on to the last number.

        Args:
            goals: the queries.
            tell: told how many have flipped so far, after each number of images.
        """
        positions = self.exposed(goals)
        fewest = torch.zeros(len(positions), dtype=torch.int64)
        change, largest = torch.zeros(len(positions), *self.images.shape[1:]), 0.0
        for count in self.counts:
            left = (fewest == 0).nonzero().squeeze(1)
            if len(left):
                chosen = positions[left, :count]
                found = self.attack(chosen, goals.select(left))
                moved = (found.images - self.images[chosen]).cpu()
                change[left], largest = moved[:, 0], max(largest, float(moved.abs().max()))
                fewest[left] = torch.where(found.flipped[:, 0].cpu(), count, 0)
            tell(int((fewest > 0).sum()))
        controls = self.controls(positions, goals)
        return Outcome(fewest, **controls, first=positions[:, 0].cpu(), change=change, largest=largest)

    def exposed(self, goals: Goals) -> Tensor:
        """Positions of the training images that are changed, [T, the largest number], the first first."""
        return most_exposed(self.top, self.extract, self.images, goals, self.counts[-1], self.batch, self.shortlist)

    def attack(self, positions: Tensor, goals: Goals) -> Attacked:
        """One attack on each query with these training images, [T, K]."""
        limits = (self.step, self.iterations, self.largest)
        return attack(self.top, self.extract, self.images, positions, goals, *limits)

    def controls(self, positions: Tensor, goals: Goals) -> dict[str, Tensor]:
        """The fewest images that flip each query by chance and by a wrong label, see `Outcome`."""
        fewest = {name: torch.zeros(len(positions), dtype=torch.int64) for name in ("random", "label_flip")}
        for count in self.counts:
            chosen = positions[:, :count]
            replacements = (
                random_change(self.top, self.extract, self.images, chosen, self._generator, self.largest),
                worst_labels(self.top, chosen, goals),
            )
            for found, replacement in zip(fewest.values(), replacements, strict=True):
                flipped = misread(self.top, self.top.retrain(replacement), goals)[:, 0].cpu()
                found[flipped & (found == 0)] = count
        return fewest


def joined(outcomes: list[Outcome]) -> Outcome:
    """The outcomes of several groups of queries as one."""
    names = ("attack", "random", "label_flip", "first", "change")
    parts = {name: torch.cat([getattr(outcome, name) for outcome in outcomes]) for name in names}
    return Outcome(**parts, largest=max(outcome.largest for outcome in outcomes))
