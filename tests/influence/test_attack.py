from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from influence.attack import ROUNDING, Goals, attack, misread, most_exposed, random_change, worst_labels
from influence.objective import BinaryCrossEntropy, SoftmaxCrossEntropy
from influence.retraining.top_layer import Replacement, TopLayer, outputs

EXAMPLES, SIDE = 30, 3
OBJECTIVES = {
    2: BinaryCrossEntropy(weight_decay=0.01),
    3: SoftmaxCrossEntropy(weight_decay=0.01, decay_biases=True),
}


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@dataclass(frozen=True)
class Case:
    """Images of noisy classes, a fixed random network on them, and the goals nearest to its decision."""

    top: TopLayer
    network: nn.Module
    images: Tensor
    goals: Goals

    def extract(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images / 255.0)
        return features

    def losses(self, replacement: Replacement) -> Tensor:
        """Mean loss of the goals after training with what has changed, [T]."""
        theta = self.top.retrain(replacement)
        found = outputs(theta, self.goals.features).flatten(0, 1)
        losses = self.top.objective.loss(found, self.goals.targets.flatten())
        return losses.view(self.goals.targets.shape).mean(dim=1)

    def before(self) -> Tensor:
        positions = torch.zeros(len(self.goals.targets), 1, dtype=torch.int64)
        data = self.top.data
        return self.losses(Replacement(positions, data.inputs[positions], data.targets[positions]))


def make(classes: int, at_once: int = 1) -> Case:
    torch.manual_seed(5)
    targets = torch.arange(EXAMPLES + 40) % classes
    centres = 90 * torch.randn(classes, 1, SIDE, SIDE)
    images = (128 + centres[targets] + 60 * torch.randn(len(targets), 1, SIDE, SIDE)).clamp(0, 255).round()
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 6), nn.Tanh())
    with torch.no_grad():
        features = network(images / 255.0)
    top = TopLayer(OBJECTIVES[classes], features[:EXAMPLES], targets[:EXAMPLES], 1 if classes == 2 else classes)
    rest = Goals(features[EXAMPLES:].unsqueeze(0), targets[EXAMPLES:].unsqueeze(0))
    margin = top.objective.margin(outputs(top.parameters(1), rest.features)[0], rest.targets[0])
    nearest = margin.masked_fill(margin < 0, torch.inf).argsort()[: 2 * at_once].view(2, at_once)
    return Case(top, network, images[:EXAMPLES], Goals(rest.features[0, nearest], rest.targets[0, nearest]))


def slopes(case: Case, goal: int) -> Tensor:
    """d loss / d pixel of every training image by central differences of exact retraining, [N, 1, SIDE, SIDE]."""
    pixels, epsilon = SIDE * SIDE, 0.05
    losses = []
    for sign in (1, -1):
        moved = case.images.repeat_interleave(pixels, dim=0).view(-1, pixels, pixels)
        moved = moved + sign * epsilon * torch.eye(pixels)
        features = case.extract(moved.view(-1, 1, SIDE, SIDE)).detach().unsqueeze(1)
        positions = torch.arange(EXAMPLES).repeat_interleave(pixels).unsqueeze(1)
        theta = case.top.retrain(Replacement(positions, features, case.top.data.targets[positions]))
        found = outputs(theta, case.goals.features[goal]).flatten(0, 1)
        targets = case.goals.targets[goal].repeat(len(positions))
        losses.append(case.top.objective.loss(found, targets).view(len(positions), -1).mean(dim=1))
    return ((losses[0] - losses[1]) / (2 * epsilon)).view(case.images.shape)


@pytest.mark.parametrize(("classes", "at_once"), [(2, 1), (3, 1), (3, 4)])
def test_the_direction_and_the_choice_are_those_of_exact_retraining(classes: int, at_once: int) -> None:
    case = make(classes, at_once)
    chosen = most_exposed(case.top, case.extract, case.images, case.goals, 3, batch=7)
    moved = attack(case.top, case.extract, case.images, chosen, case.goals, step=0.01, iterations=1)
    assert moved.steps.tolist() == [1, 1]
    for goal in range(2):
        truth = slopes(case, goal)
        strength = truth.abs().flatten(1).sum(dim=1)
        assert chosen[goal].tolist() == strength.argsort(descending=True)[:3].tolist()
        inside = (case.images[chosen[goal]] > 0) & (case.images[chosen[goal]] < 255)
        clear = truth[chosen[goal]].abs() > 1e-3 * truth.abs().max()
        step = moved.images[goal] - case.images[chosen[goal]]
        assert inside.sum() > 9 and torch.equal(step[inside & clear].sign(), truth[chosen[goal]][inside & clear].sign())


@pytest.mark.parametrize("classes", [2, 3])
def test_a_shortlist_is_of_the_images_whose_features_matter_most(classes: int) -> None:
    case = make(classes)
    everything = most_exposed(case.top, case.extract, case.images, case.goals, EXAMPLES)
    assert all(sorted(row) == list(range(EXAMPLES)) for row in everything.tolist())
    by_features = [
        set(feature_slopes(case, goal).norm(dim=1).argsort(descending=True)[:8].tolist()) for goal in range(2)
    ]
    listed = most_exposed(case.top, case.extract, case.images, case.goals, 4, shortlist=8)
    for goal in range(2):
        expected = [row for row in everything[goal].tolist() if row in by_features[goal]][:4]
        assert listed[goal].tolist() == expected
    assert torch.equal(
        most_exposed(case.top, case.extract, case.images, case.goals, 4, shortlist=99), everything[:, :4]
    )


def feature_slopes(case: Case, goal: int) -> Tensor:
    """d loss / d feature of every training image by central differences of exact retraining, [N, D]."""
    inputs, epsilon = case.top.data.inputs, 1e-3
    width, losses = inputs.shape[1], []
    positions = torch.arange(EXAMPLES).repeat_interleave(width).unsqueeze(1)
    for sign in (1, -1):
        moved = inputs.unsqueeze(1) + sign * epsilon * torch.eye(width)
        theta = case.top.retrain(Replacement(positions, moved.view(-1, 1, width), case.top.data.targets[positions]))
        found = outputs(theta, case.goals.features[goal]).flatten(0, 1)
        losses.append(case.top.objective.loss(found, case.goals.targets[goal].repeat(len(positions))))
    return ((losses[0] - losses[1]) / (2 * epsilon)).view(EXAMPLES, width)


@pytest.mark.parametrize("classes", [2, 3])
def test_images_look_the_same_and_the_loss_rises_more_than_by_chance(classes: int) -> None:
    case = make(classes)
    assert not misread(case.top, case.top.parameters(2), case.goals).any()
    everything = torch.arange(EXAMPLES).expand(2, -1)
    found = attack(case.top, case.extract, case.images, everything, case.goals)
    assert torch.equal(found.images.round(), case.images.expand(2, *case.images.shape))
    assert found.images.min() >= 0 and found.images.max() <= 255
    by_chance = random_change(case.top, case.extract, case.images, everything, torch.Generator().manual_seed(0))
    attacked = Replacement(
        everything,
        case.extract(found.images.flatten(0, 1)).detach().unflatten(0, everything.shape),
        case.top.data.targets[everything],
    )
    rise, chance = case.losses(attacked) - case.before(), case.losses(by_chance) - case.before()
    assert (rise > 0).all() and (rise > 3 * chance.abs()).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_an_attack_stops_when_its_goals_have_flipped(classes: int) -> None:
    case = make(classes)
    everything = torch.arange(EXAMPLES).expand(2, -1)
    far = attack(case.top, case.extract, case.images, everything, case.goals, step=1.0, iterations=50, largest=40.0)
    assert far.flipped.all() and (far.steps < 50).all()
    attacked = Replacement(
        everything,
        case.extract(far.images.flatten(0, 1)).detach().unflatten(0, everything.shape),
        case.top.data.targets[everything],
    )
    assert misread(case.top, case.top.retrain(attacked), case.goals).all()
    none = attack(case.top, case.extract, case.images, everything, case.goals, iterations=0)
    assert not none.flipped.any() and torch.equal(none.images[0], case.images)


@settings(max_examples=15)
@given(step=st.floats(0.001, 3.0), largest=st.floats(0.01, 30.0), iterations=st.integers(1, 6))
def test_no_pixel_ends_farther_away_than_allowed(step: float, largest: float, iterations: int) -> None:
    case = make(3)
    positions = torch.tensor([[4, 8], [0, 1]])
    found = attack(case.top, case.extract, case.images, positions, case.goals, step, iterations, largest)
    assert float((found.images - case.images[positions]).abs().max()) <= largest + 1e-9
    assert float((found.images - case.images[positions]).abs().max()) <= step * iterations + 1e-9
    assert found.images.min() >= 0 and found.images.max() <= 255


@pytest.mark.parametrize("classes", [2, 3])
def test_the_worst_labels_are_those_of_exact_retraining(classes: int) -> None:
    case = make(classes)
    for example in range(6):
        positions = torch.full((2, 1), example)
        found = worst_labels(case.top, positions, case.goals)
        own = case.top.data.targets[example]
        losses = []
        for label in range(classes):
            labels = torch.full((2, 1), label)
            losses.append(case.losses(Replacement(positions, case.top.data.inputs[positions], labels)))
        truth = torch.stack(losses)
        truth[own] = -torch.inf
        assert found.targets[:, 0].tolist() == truth.argmax(dim=0).tolist()
        assert torch.equal(found.features, case.top.data.inputs[positions])


def test_rounding_keeps_the_8_bit_image() -> None:
    levels = torch.arange(256.0, dtype=torch.float32)
    assert torch.equal((levels + ROUNDING).round(), levels) and torch.equal((levels - ROUNDING).round(), levels)
