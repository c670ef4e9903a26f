"""Attacks with ever more images, each verified by training from scratch on what became of them."""

import torch
from torch import Tensor

from influence.attack import Goals, attack, most_exposed, worst_labels
from influence.objective import SoftmaxCrossEntropy
from influence.retraining.top_layer import Replacement, TopLayer, outputs
from tasks.attacking import COUNTS, Attacker, Outcome, joined

OBJECTIVE = SoftmaxCrossEntropy(weight_decay=0.01, decay_biases=True)
STEP, ITERATIONS = 0.1, 8


def extract(images: Tensor) -> Tensor:
    """Fixed features of 3 x 3 images, steep enough that less than a level matters."""
    matrix = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    return torch.tanh((images.flatten(1) / 255.0 - 0.5) @ matrix * 12)


def make() -> tuple[Attacker, Goals]:
    """A layer on those features of images in three classes that overlap, and the held-out images nearest to a flip."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(140) % 3
    centres = 128 + 30 * torch.randn(3, 1, 3, 3, generator=generator)
    images = (centres[labels] + 40 * torch.randn(140, 1, 3, 3, generator=generator)).clamp(0, 255).round()
    top = TopLayer(OBJECTIVE, extract(images[:40]), labels[:40], 3)
    features = extract(images[40:]).double()
    margin = OBJECTIVE.margin(outputs(top.parameters(1), features)[0], labels[40:])
    chosen = torch.where(margin > 0, margin, torch.inf).argsort()[[0, 1, 3, 6]]
    goals = Goals(features[chosen].unsqueeze(1), labels[40:][chosen].unsqueeze(1))
    return Attacker(extract, top, images[:40].to(torch.uint8), seed=0, step=STEP, iterations=ITERATIONS), goals


def flips(attacker: Attacker, replacement: Replacement, goals: Goals, query: int) -> bool:
    """Whether a layer trained from scratch, with these examples in place of those there were, misreads a query."""
    features, targets = attacker.top.data.inputs.clone(), attacker.top.data.targets.clone()
    features[replacement.positions[0]] = replacement.features[0]
    targets[replacement.positions[0]] = replacement.targets[0]
    found = outputs(TopLayer(OBJECTIVE, features, targets, 3).parameters(1), goals.features[query])[0]
    return bool(OBJECTIVE.margin(found, goals.targets[query]) < 0)


def steps_up_to(fewest: int) -> list[int]:
    """The number of images that flips, or the last one tried, and the one before."""
    last = COUNTS.index(fewest or COUNTS[-1])
    return list(COUNTS[max(last - 1, 0) : last + 1])


def test_the_fewest_images_do_flip_and_fewer_do_not() -> None:
    attacker, goals = make()
    told: list[int] = []
    outcome = attacker.run(goals, told.append)
    assert attacker.counts == list(COUNTS)
    assert 0 < outcome.largest <= 0.5
    assert told == [int(((outcome.attack > 0) & (outcome.attack <= count)).sum()) for count in COUNTS]
    assert told[-1] > 0 and len(set(outcome.attack.tolist())) > 1  # else this test says little
    positions = most_exposed(attacker.top, extract, attacker.images, goals, COUNTS[-1])
    assert torch.equal(outcome.first, positions[:, 0])
    for query, fewest in enumerate(outcome.attack.tolist()):
        one = goals.select(torch.tensor([query]))
        for count in steps_up_to(fewest):
            chosen = positions[[query], :count]
            found = attack(attacker.top, extract, attacker.images, chosen, one, STEP, ITERATIONS)
            features = extract(found.images[0]).double().unsqueeze(0)
            replacement = Replacement(chosen, features, attacker.top.data.targets[chosen])
            assert flips(attacker, replacement, goals, query) == (count == fewest)
        torch.testing.assert_close(outcome.change[query], found.images[0, 0] - attacker.images[positions[query, 0]])


def test_the_controls_are_those_of_training_from_scratch() -> None:
    attacker, goals = make()
    outcome = attacker.run(goals)
    assert len(set(outcome.label_flip.tolist())) > 1  # else this test says little
    positions = most_exposed(attacker.top, extract, attacker.images, goals, COUNTS[-1])
    for query, fewest in enumerate(outcome.label_flip.tolist()):
        for count in steps_up_to(fewest):
            replacement = worst_labels(attacker.top, positions[[query], :count], goals.select(torch.tensor([query])))
            assert flips(attacker, replacement, goals, query) == (count == fewest)
    assert (outcome.random > 0).sum() <= (outcome.attack > 0).sum()


def test_no_more_images_are_changed_than_there_are() -> None:
    attacker, _ = make()
    assert Attacker(extract, attacker.top, attacker.images[:4], seed=0).counts == [1, 2, 3]


def test_outcomes_are_joined_in_order() -> None:
    one, other = (
        Outcome(number, number, number, number, change=torch.full((1, 1, 2, 2), int(number)), largest=largest)
        for number, largest in ((torch.tensor([1]), 0.2), (torch.tensor([5]), 0.4))
    )
    both = joined([one, other])
    assert both.attack.tolist() == both.first.tolist() == [1, 5]
    assert both.change[:, 0, 0, 0].tolist() == [1, 5] and both.largest == 0.4
