"""E5: two models that read the same pictures for different reasons (Koh & Liang 2017, figure 4).

Photographs of dogs and fish are told apart by a support vector machine with a kernel on their pixels, and by logistic
regression on the features of a network. Influence on one test fish, against the distance in pixels, shows how either
comes to its answer. The network, frozen, is left for the experiment `attack`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from experiments.common.animal_network import Training, features, frozen, train_network
from experiments.common.animals import DOG, FISH, Animals, load_animals
from experiments.common.convex import rows, train
from experiments.common.experiment import Result, Setting, main
from experiments.common.figures import HARMFUL, HELPFUL, panels
from experiments.common.pixel_kernel import kernel_features, squared_distances
from experiments.common.statistics import pearson_rows
from experiments.hinge import fitted, influence
from influence import BinaryCrossEntropy
from influence.problem import TensorData
from tasks.errors import UserError
from tasks.parameters import Section

NETWORK = "network"  # the file that the network is left in
COLOURS = {FISH: HELPFUL, DOG: HARMFUL}
NAMES = {FISH: "fish", DOG: "dog"}
TOP = 20  # most helpful and most harmful images that are looked at


class Parameters(Section):
    gamma: float = 0.05  # of the kernel, divided by the number of training images
    weight_decay: float = 0.001
    temperature: float = 0.001  # of the smooth hinge
    other_fish: int = 30  # test fish, drawn at random, on which the same is measured
    network: Training = Training()


@dataclass(frozen=True)
class Model:
    """A trained model of dogs and fish.

    Attributes:
        margins: of the test images, above 0 where they are read correctly, [M].
        influence: of all training images on chosen test images, [Q] to [Q, N] in nats, or in units of the hinge.
    """

    margins: Tensor
    influence: Callable[[Tensor], Tensor]


def run(setting: Setting, parameters: Parameters) -> Result:
    train_set, test = load_animals(setting.data("dogfish"))
    distances = setting.part("distances", lambda: _distances(train_set, test))
    weights = setting.part("network", lambda: train_network(train_set, parameters.network, setting.seed).state_dict())
    models = {
        "rbf": kernel_machine(setting, parameters, distances, train_set, test),
        "network": on_features(parameters, weights, train_set, test),
    }
    chosen = choose(models["rbf"].margins, models["network"].margins, test.labels, parameters.other_fish)
    same = test.labels[chosen].unsqueeze(1) == train_set.labels
    found = {name: model.influence(chosen) for name, model in models.items()}
    metrics: dict[str, Any] = {"n": len(train_set), "test_fish": test.names[int(chosen[0])]}
    for name, scores in found.items():
        metrics[f"{name}_accuracy"] = float((models[name].margins > 0).double().mean())
        metrics.update(
            {f"{name}_{key}": value for key, value in measure(scores, distances["test"][chosen], same).items()}
        )
        for kind, order in (("helpful", scores[0].argsort(descending=True)), ("harmful", scores[0].argsort())):
            metrics[f"{name}_{kind}"] = [train_set.names[index] for index in order[:TOP].tolist()]
    figure = _figure(found, distances["test"][chosen[0]], train_set.labels)
    return Result(metrics, figure, _verdict(metrics), {NETWORK: weights})


def _distances(train_set: Animals, test: Animals) -> dict[str, Tensor]:
    """Distances in pixels from training images, of training images [N, N] and test images [M, N]."""
    print("dog_fish: comparing pixels", flush=True)
    found = {
        name: squared_distances(part.images, train_set.images) for name, part in (("train", train_set), ("test", test))
    }
    return {name: squares.clamp_min(0).sqrt() for name, squares in found.items()}


def kernel_machine(
    setting: Setting, parameters: Parameters, distances: dict[str, Tensor], train_set: Animals, test: Animals
) -> Model:
    """The support vector machine on pixels, trained on the hinge exactly, with the derivatives of the smooth one."""
    squares = {name: values.square() for name, values in distances.items()}
    inputs = kernel_features(squares["train"], squares["test"], parameters.gamma / len(train_set))
    data, queries = (
        TensorData(part, 2 * animals.labels - 1) for part, animals in zip(inputs, (train_set, test), strict=True)
    )
    minimum = fitted(setting, data, parameters.weight_decay)
    return Model(
        queries.targets * (queries.inputs @ minimum.theta),
        lambda chosen: influence(minimum, data, rows(queries, chosen), parameters.temperature),
    )


def on_features(parameters: Parameters, weights: dict[str, Tensor], train_set: Animals, test: Animals) -> Model:
    """Logistic regression on the network's features, trained to its minimum."""
    model = frozen(weights)
    data, queries = (TensorData(features(model, animals.images), animals.labels) for animals in (train_set, test))
    trained = train(data, BinaryCrossEntropy(parameters.weight_decay))
    outputs = trained.problem.outputs(trained.problem.parameters, queries.inputs).squeeze(1)
    return Model((2 * queries.targets - 1) * outputs, lambda chosen: trained.influence(rows(queries, chosen)))


def choose(kernel: Tensor, network_margins: Tensor, labels: Tensor, others: int) -> Tensor:
    """Positions of the test fish to look at, [1 + others], from both models' margins [M].

    Only fish that both read correctly come into question, and on which the kernel machine still has a loss: at a margin
    above 1 the hinge has none, and no influence. First the one that both are surest of, by the worse of its two ranks;
    then others at random.

    Raises:
        UserError: there is none.
    """
    eligible = ((labels == FISH) & (kernel > 0) & (kernel < 1) & (network_margins > 0)).nonzero().squeeze(1)
    if not len(eligible):
        raise UserError("no test fish is read correctly by both models with a loss left: there is nothing to explain")
    ranks = [margins[eligible].argsort(descending=True).argsort() for margins in (kernel, network_margins)]
    first = eligible[torch.maximum(*ranks).argmin()]
    rest = eligible[eligible != first]
    return torch.cat([first.unsqueeze(0), rest[torch.randperm(len(rest))[:others]]])


def measure(influence: Tensor, distances: Tensor, same: Tensor) -> dict[str, Any]:
    """Numbers of the first test image, and medians over the others; all arguments are [Q, N].

    By count, `sign_is_class` is decided by the many images without a loss of their own, whose influence is little more
    than the regularisation's share, the same for all; weighted, every image counts by the size of its influence.

    Args:
        influence: of training images on test images.
        distances: between them.
        same: whether they are of one class.
    """
    helpful = influence.argsort(dim=1, descending=True)
    other_class = ~same.gather(1, helpful)
    size, agrees = influence.abs(), (influence > 0) == same
    numbers = {
        "corr_distance": pearson_rows(size, distances),
        "sign_is_class": agrees.double().mean(dim=1),
        "sign_is_class_weighted": (size * agrees).sum(dim=1) / size.sum(dim=1),
        "first_dog_helpful_rank": 1 + other_class.int().argmax(dim=1),
        f"dogs_in_top_{TOP}_helpful": other_class[:, :TOP].sum(dim=1),
        "dogs_helpful": ((influence > 0) & ~same).sum(dim=1) / (~same).sum(dim=1),
    }
    found: dict[str, Any] = {}
    for name, values in numbers.items():
        found[name] = values[0].item()
        found[f"{name}_other_fish_median"] = values[1:].median().item()
    return found


def _figure(found: dict[str, Tensor], distances: Tensor, labels: Tensor) -> Figure:
    figure, axes = panels(columns=3, width=3.6, height=3.2)
    titles = {"rbf": "kernel on pixels", "network": "features of a network"}
    for axis, (name, scores) in zip(axes, found.items(), strict=False):
        for label, colour in COLOURS.items():
            chosen = labels == label
            up = scores[0, chosen] / scores[0].abs().max()
            axis.plot(distances[chosen], up, ".", color=colour, markersize=3, rasterized=True, label=NAMES[label])
        axis.axhline(0, color="black", linewidth=0.5)
        axis.set_title(titles[name])
        axis.set_xlabel("distance in pixels from the test fish")
    axes[0].set_ylabel("influence on the test fish, of the largest\nabove 0: helpful")
    axes[0].legend(frameon=False, markerscale=3)
    _show_classes(axes[2], {titles[name]: labels[scores[0].argsort(descending=True)] for name, scores in found.items()})
    return figure


def _show_classes(axis: Axes, ordered: dict[str, Tensor]) -> None:
    """A square for each of the most helpful and the most harmful images, in the colour of its class.

    The photographs themselves may not be shown.
    """
    lines = [(name, kind, line) for name, labels in ordered.items() for kind, line in _ends(labels)]
    for row, (_, _, line) in enumerate(lines):
        axis.scatter(
            range(1, len(line) + 1), [-row] * len(line), s=26, marker="s", c=[COLOURS[label] for label in line]
        )
    axis.set_yticks([-row for row in range(len(lines))], [f"{name}:\nmost {kind}" for name, kind, _ in lines])
    axis.set_xticks([1, 5, 10, 15, 20])
    axis.set_xlabel("rank")
    axis.set_title("class of the training image")
    axis.set_ylim(0.5 - len(lines), 0.5)


def _ends(labels: Tensor) -> list[tuple[str, list[int]]]:
    """Classes of the images of largest and of smallest influence, from those of all in falling order."""
    return [("helpful", labels[:TOP].tolist()), ("harmful", labels.flip(0)[:TOP].tolist())]


def _verdict(metrics: dict[str, Any]) -> str:
    def both(key: str, form: str) -> str:
        values = (metrics[f"{model}_{key}"] for model in ("rbf", "network"))
        return " and ".join(format(value, form) for value in values)

    holds = (
        metrics["rbf_corr_distance"] < metrics["network_corr_distance"]
        and metrics["rbf_sign_is_class_weighted"] > metrics["network_sign_is_class_weighted"]
        and metrics["rbf_first_dog_helpful_rank"] > metrics["network_first_dog_helpful_rank"]
    )
    return (
        f"The contrast of figure 4 is {'there, among the photographs of largest influence' if holds else 'not there'}. "
        f"For the kernel machine on pixels and the network's features, in this order: "
        f"the size of influence on one test fish correlates with the distance in pixels at "
        f"{both('corr_distance', '.2f')}; {both('sign_is_class_weighted', '.0%')} of all influence has the sign of the "
        f"class, though by count, most photographs having next to no influence, the sign is the class for only "
        f"{both('sign_is_class', '.0%')}; the most helpful dog is at rank {both('first_dog_helpful_rank', 'd')}. "
        f"Medians over other fish: {both('corr_distance_other_fish_median', '.2f')}; "
        f"{both('sign_is_class_weighted_other_fish_median', '.0%')}; {both('sign_is_class_other_fish_median', '.0%')}; "
        f"rank {both('first_dog_helpful_rank_other_fish_median', 'd')}. Accuracy: {both('accuracy', '.1%')}."
    )


if __name__ == "__main__":
    main(__name__, Parameters, run)
