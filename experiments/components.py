"""E1: what the factors of influence do (Koh & Liang 2017, figure 1).

For logistic regression without its regularisation, the influence of (x, y) on (x_q, y_q) is

    y y_q * sigma(-y theta x) * sigma(-y_q theta x_q) * x_q^T H^-1 x / n.

It is held against what is left of it without the training loss factor sigma(-y theta x), without H^-1, and without
both: a scaled inner product of the two pictures.
"""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from experiments.common.convex import Trained, train
from experiments.common.experiment import Result, Setting, main
from experiments.common.figures import HARMFUL, HELPFUL, panels
from experiments.common.mnist import Digits, load_digits
from experiments.common.statistics import pearson_rows
from influence import BinaryCrossEntropy
from influence.problem import TensorData
from influence.vectors import cross_dot
from tasks.parameters import Section

WITHOUT_LOSS, WITHOUT_HESSIAN, INNER_PRODUCT = "without_loss", "without_hessian", "inner_product"
TITLES = {
    WITHOUT_LOSS: "without the training loss:\npoints without loss seem to matter",
    WITHOUT_HESSIAN: "without the Hessian:\nthe label alone decides the sign",
    INNER_PRODUCT: "without both:\nan inner product of pictures",
}
TOP = 100  # training images of largest |influence| that a variant is asked to find


class Parameters(Section):
    positive: int = 1  # the digit with label +1
    negative: int = 7
    weight_decay: float = 0.01
    test_point: int = 30  # among the test images of the two digits
    other_points: int = 100  # test images, drawn at random, on which the same is measured


def run(setting: Setting, parameters: Parameters) -> Result:
    digits = load_digits(setting.data("mnist")).binary(parameters.positive, parameters.negative)
    trained = train(
        TensorData(digits.train_images, (digits.train_labels > 0).long()), BinaryCrossEntropy(parameters.weight_decay)
    )
    others = torch.randperm(len(digits.test_labels))[: parameters.other_points]
    chosen = torch.cat([torch.tensor([parameters.test_point]), others])
    influence, variants = components(trained, digits, chosen)
    same = digits.test_labels[chosen].unsqueeze(1) == digits.train_labels
    metrics = measure(influence, variants, same)
    figure = _figure(influence[0], {name: variant[0] for name, variant in variants.items()}, same[0])
    worst = int(torch.where(same[0], influence[0], torch.inf).argmin())
    _show_pair(figure.axes[3], digits.test_images[parameters.test_point], digits.train_images[worst])
    return Result({"n": len(trained.data), **metrics}, figure, _verdict(metrics))


def components(trained: Trained, digits: Digits, chosen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Influence of all training images on the chosen test images, and its variants by name, [Q, N] each, in nats.

    As in the released code, what lacks the training loss lacks the regularisation's share too.
    """
    slopes = trained.slopes(TensorData(digits.test_images[chosen], (digits.test_labels[chosen] > 0).long()))
    solutions = trained.solve(slopes)
    pictures = -digits.train_labels.unsqueeze(1) * digits.train_images / len(trained.data)
    lossless = {"weight": pictures.unsqueeze(1)}
    return trained.along(solutions), {
        WITHOUT_LOSS: cross_dot(solutions, lossless),
        WITHOUT_HESSIAN: trained.along(slopes),
        INNER_PRODUCT: cross_dot(slopes, lossless),
    }


def measure(influence: Tensor, variants: dict[str, Tensor], same: Tensor) -> dict[str, float]:
    """Numbers of the first test image, and medians over the others.

    Args:
        influence: [Q, N].
        variants: by name, [Q, N].
        same: whether a training image has the test image's label, [Q, N].
    """
    metrics: dict[str, float] = {}
    for name, variant in variants.items():
        correlation = pearson_rows(influence, variant)
        metrics[f"corr_{name}"] = float(correlation[0])
        metrics[f"corr_{name}_other_points_median"] = float(correlation[1:].median())
        metrics[f"top_{TOP}_found_by_{name}"] = _overlap(influence[0], variant[0])
    for name, scores in {"": influence, **variants}.items():
        harmful = ((scores < 0) & same).sum(dim=1) / same.sum(dim=1)
        metrics["_".join(filter(None, ["same_label_harmful", name]))] = float(harmful[0])
    return metrics


def _overlap(left: Tensor, right: Tensor) -> float:
    """Share of the TOP entries of largest size that two vectors have in common."""
    found, wanted = (set(values.abs().topk(TOP).indices.tolist()) for values in (left, right))
    return len(found & wanted) / TOP


def _figure(influence: Tensor, variants: dict[str, Tensor], same: Tensor) -> Figure:
    figure, axes = panels(columns=4, width=3.2)
    for axis, (name, variant) in zip(axes, variants.items(), strict=False):
        for chosen, colour, label in ((same, HELPFUL, "label of the test image"), (~same, HARMFUL, "other label")):
            across, up = 1000 * variant[chosen], 1000 * influence[chosen]
            axis.plot(across, up, ".", color=colour, markersize=3, rasterized=True, label=label)
        axis.set_title(TITLES[name])
        axis.set_xlabel("the variant (0.001 nats)")
        axis.axhline(0, color="black", linewidth=0.5)
        axis.axvline(0, color="black", linewidth=0.5)
    axes[0].set_ylabel("influence (0.001 nats), above 0: helpful")
    axes[0].legend(loc="upper left", markerscale=3, frameon=False)
    return figure


def _show_pair(axis: Axes, test_image: Tensor, train_image: Tensor) -> None:
    side = round(len(test_image) ** 0.5)
    gap = torch.zeros(side, 2)
    axis.imshow(1 - torch.cat([test_image.view(side, side), gap, train_image.view(side, side)], dim=1), cmap="gray")
    axis.set_title("test image, and the most harmful\ntraining image of its label")
    axis.set_axis_off()


def _verdict(metrics: dict[str, float]) -> str:
    return (
        f"As in figure 1, influence loses its meaning without its factors: correlation with the variant without the "
        f"training loss {metrics['corr_without_loss']:.2f}, without the Hessian {metrics['corr_without_hessian']:.2f}, "
        f"without both {metrics['corr_inner_product']:.2f}. Of the training images with the test image's own label "
        f"{metrics['same_label_harmful']:.0%} are harmful ({metrics['same_label_harmful_without_loss']:.0%} when the "
        f"regularisation's share is left aside, which is the same for all); the inner product of the pictures finds "
        f"{metrics['same_label_harmful_inner_product']:.0%}."
    )


if __name__ == "__main__":
    main(__name__, Parameters, run)
