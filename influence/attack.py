"""Training-set attacks: training inputs changed so little that nobody sees it, so that chosen predictions flip.

The model is a feature extractor that stays as it is and a top layer that is trained on its features. Moving a training
input x by dx moves the trained parameters by -H^-1 (d/dx g)(x) dx / n, and the loss of a goal with gradient g_goal by

    -s^T (d/dx g)(x) dx / n,      s = H^-1 g_goal                       (Koh & Liang 2017, section 2.2: I_pert,loss / n)

which is minus the derivative of x's influence on the goal: an attack lowers what a training example helps. Steps of one
size a pixel follow its sign, each projected to the inputs that look the same, and the top layer is trained again after
each (section 5.2). H is that of the unchanged training set throughout: the changes are too small to matter to it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.retraining.top_layer import Replacement, TopLayer, outputs
from influence.vectors import Vectors, count, scaled, select, store

Extract = Callable[[Tensor], Tensor]  # inputs [B, *shape] -> features [B, D], each input alone, differentiable

ROUNDING = 0.499  # levels by which a pixel can move and still be rounded to where it was
WHITE = 255.0  # the largest level


@dataclass(frozen=True)
class Goals:
    """What T attacks are to flip, each the predictions of M examples at once.

    Attributes:
        features: [T, M, D].
        targets: their true targets, [T, M].
    """

    features: Tensor
    targets: Tensor

    def select(self, rows: Tensor) -> "Goals":
        return Goals(self.features[rows], self.targets[rows])


@dataclass(frozen=True)
class Attacked:
    """Where T attacks ended.

    Attributes:
        positions: of the training examples that were changed, [T, K].
        images: what became of them, in levels, float [T, K, *shape].
        flipped: which goals are no longer predicted as their target, [T, M].
        steps: that each attack took, [T].
    """

    positions: Tensor
    images: Tensor
    flipped: Tensor
    steps: Tensor


def attack(
    top: TopLayer,
    extract: Extract,
    images: Tensor,
    positions: Tensor,
    goals: Goals,
    step: float = 0.02,
    iterations: int = 100,
    largest: float = ROUNDING,
) -> Attacked:
    """Change K training images for each of T goals until its predictions flip, or for so many steps.

    Args:
        top: the top layer, trained on the features of all N training images.
        extract: the feature extractor, of images in levels from 0 to 255.
        images: the training images, [N, *shape] in whole levels, of any dtype.
        positions: of those that each attack may change, [T, K]; see `most_exposed`.
        goals: what to flip.
        step: levels that every pixel moves by in one iteration.
        iterations: at most so many; the top layer is trained again after each.
        largest: levels that a pixel may end away from where it was. Below one half the image in 8 bits is the same.

    Raises:
        NotConvergedError: the top layer cannot be trained again.
    """
    originals = images[positions].to(torch.get_default_dtype())
    targets = top.data.targets[positions]
    changed, theta = originals.clone(), top.parameters(len(positions))
    flipped, steps = misread(top, theta, goals), torch.zeros(len(positions), dtype=torch.int64)
    rows = (~flipped.all(dim=1)).nonzero().squeeze(1)
    inputs, features = _extracted(extract, changed[rows])
    for _ in range(iterations):
        left = ~flipped[rows].all(dim=1)
        active = rows[left]
        if not len(active):
            break
        now, ahead = select(theta, active), goals.select(active)
        slopes = torch.zeros_like(features)
        slopes[left] = _slopes(top, now, _solved(top, now, ahead), features.detach()[left], targets[active])
        (fall,) = torch.autograd.grad(features, inputs, slopes)  # -n I_pert,loss
        changed[active] = _projected(changed[active] - step * fall[left].sign(), originals[active], largest)
        rows = active
        inputs, features = _extracted(extract, changed[rows])
        now = top.retrain(Replacement(positions[rows], features.detach(), targets[rows]), now)
        store(theta, rows, now)
        flipped[rows] = misread(top, now, ahead)
        steps[rows.cpu()] += 1
    return Attacked(positions, changed, flipped, steps)


def most_exposed(
    top: TopLayer,
    extract: Extract,
    images: Tensor,
    goals: Goals,
    number: int,
    batch: int = 256,
    shortlist: int | None = None,
) -> Tensor:
    """Positions of the training images through whose pixels each goal can be moved most, [T, number], the first best.

    They are those of the largest sum of |I_pert,loss| over the pixels.

    Args:
        top: the top layer, trained on the features of all N training images.
        extract: the feature extractor, of images in levels from 0 to 255.
        images: the training images, [N, *shape].
        goals: what to move.
        number: how many positions to give.
        batch: images whose pixels are looked at at once.
        shortlist: look at the pixels of only so many images a goal, those through whose features it can be moved most,
            which costs no pass through the extractor. None: at those of all.
    """
    theta = top.parameters(len(goals.targets))
    solved = _solved(top, theta, goals)
    if shortlist is None or shortlist >= len(images):
        return _exposure(top, extract, images, top.data.targets, theta, solved, batch).topk(number, dim=1).indices
    found = []
    for goal, rows in enumerate(_feature_exposure(top, theta, solved, batch).topk(max(shortlist, number)).indices):
        one = torch.tensor([goal], device=rows.device)
        own = select(theta, one), select(solved, one)
        exposure = _exposure(top, extract, images[rows], top.data.targets[rows], *own, batch)
        found.append(rows[exposure[0].topk(number).indices])
    return torch.stack(found)


def random_change(
    top: TopLayer,
    extract: Extract,
    images: Tensor,
    positions: Tensor,
    generator: torch.Generator,
    largest: float = ROUNDING,
) -> Replacement:
    """A control: the same images with every pixel moved as far as an attack may, up or down by chance."""
    originals = images[positions].to(torch.get_default_dtype())
    signs = 2.0 * torch.randint(2, originals.shape, generator=generator) - 1.0
    changed = _projected(originals + largest * signs.to(originals.device), originals, largest)
    with torch.no_grad():
        features = extract(changed.flatten(0, 1)).double().unflatten(0, positions.shape)
    return Replacement(positions, features, top.data.targets[positions])


def worst_labels(top: TopLayer, positions: Tensor, goals: Goals) -> Replacement:
    """A control: the same images as they are, each with the other label that raises the goal's loss most.

    A label is a finite change: to the first order, what the loss rises by is -s^T (g(new label) - g(label)) / n.
    """
    theta = top.parameters(len(positions))
    solved, features = _solved(top, theta, goals), top.data.inputs[positions]
    labels = top.data.targets.unique()
    own = top.data.targets[positions]
    along = torch.stack(
        [_along(top, theta, solved, features, torch.full_like(own, int(label))).detach() for label in labels]
    )
    along = along.masked_fill(labels.view(-1, 1, 1) == own, torch.inf)  # its own label is no change
    return Replacement(positions, features, labels[along.argmin(dim=0)])


def misread(top: TopLayer, theta: Vectors, goals: Goals) -> Tensor:
    """Whether each goal has a margin below zero, [T, M] of bool."""
    found = outputs(theta, goals.features).flatten(0, 1)
    return (top.objective.margin(found, goals.targets.flatten()) < 0).view(goals.targets.shape)


def _solved(top: TopLayer, theta: Vectors, goals: Goals) -> Vectors:
    """s of the mean loss of each attack's goals, {name: [T, *shape]}."""
    return top.solve(scaled(1.0 / goals.targets.shape[1], top.gradient(theta, goals.features, goals.targets)))


def _exposure(
    top: TopLayer, extract: Extract, images: Tensor, targets: Tensor, theta: Vectors, solved: Vectors, batch: int
) -> Tensor:
    """Sum of n |I_pert,loss| over the pixels of each image, for each goal, [T, B]."""
    found = []
    for part, labels in zip(images.split(batch), targets.split(batch), strict=True):
        inputs = part.to(torch.get_default_dtype()).requires_grad_(True)
        features = extract(inputs).double()
        rows = [
            torch.autograd.grad(features, inputs, slope, retain_graph=True)[0].abs().flatten(1).sum(dim=1)
            for slope in _slopes(top, theta, solved, *_for_each(theta, features.detach(), labels))
        ]
        found.append(torch.stack(rows))
    return torch.cat(found, dim=1)


def _feature_exposure(top: TopLayer, theta: Vectors, solved: Vectors, batch: int) -> Tensor:
    """Norm of n I_pert,loss with respect to the features of each training image, for each goal, [T, N]."""
    parts = zip(top.data.inputs.split(batch), top.data.targets.split(batch), strict=True)
    return torch.cat([_slopes(top, theta, solved, *_for_each(theta, *part)).norm(dim=-1) for part in parts], dim=1)


def _for_each(theta: Vectors, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The same features [B, D] and targets [B] for each of T parameters, [T, B, D] and [T, B]."""
    copies = count(theta)
    return features.expand(copies, -1, -1), targets.expand(copies, -1)


def _slopes(top: TopLayer, theta: Vectors, solved: Vectors, features: Tensor, targets: Tensor) -> Tensor:
    """Derivative of s^T g of each example in its features, [T, K, D]: n I_pert,loss, were they the inputs, negated."""
    leaf = features.clone().requires_grad_(True)
    return torch.autograd.grad(_along(top, theta, solved, leaf, targets).sum(), leaf)[0]


def _along(top: TopLayer, theta: Vectors, solved: Vectors, features: Tensor, targets: Tensor) -> Tensor:
    """s^T g of each example [T, K], g the gradient of its loss in the parameters; differentiable in the features."""
    residuals = top.residuals(outputs(theta, features), targets)
    return (residuals * outputs(solved, features)).sum(dim=-1)


def _extracted(extract: Extract, images: Tensor) -> tuple[Tensor, Tensor]:
    """The images [T, K, *shape] as a leaf, and their features [T, K, D] in float64, differentiable in it."""
    inputs = images.detach().requires_grad_(True)
    return inputs, extract(inputs.flatten(0, 1)).double().unflatten(0, images.shape[:2])


def _projected(images: Tensor, originals: Tensor, largest: float) -> Tensor:
    """The nearest images that are within reach of the originals, and have levels from 0 to 255."""
    return images.clamp(originals - largest, originals + largest).clamp(0.0, WHITE)
