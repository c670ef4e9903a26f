"""The page of `influence audit`: how few training images an attacker needs to change."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.intervals import wilson_interval
from tasks.provenance import write_page
from tasks.reporting.charts import Chart, Series, line_chart
from tasks.reporting.exhibits import load_gallery
from tasks.reporting.formatting import count as counted
from tasks.reporting.formatting import percent
from tasks.reporting.page import render_page
from tasks.reporting.pictures import encode_picture
from tasks.workspace import HeldOut, SplitName, Workspace

GREY = 128  # no change
SHOWN = 24  # queries with their pictures


@dataclass(frozen=True)
class Share:
    """Found out of total, with Wilson's 95 % interval."""

    found: int
    total: int

    @property
    def value(self) -> float:
        return self.found / self.total

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.found, self.total)


@dataclass(frozen=True)
class Count:
    """What changing at most so many training images does: share of the queries that flip.

    Attributes:
        images: how many may be changed.
        attack: by the attack.
        random: control: the same images, every pixel moved as far by chance.
        label_flip: control: the same images as they are, with the worst other labels.
    """

    images: int
    attack: Share
    random: Share
    label_flip: Share


@dataclass(frozen=True)
class Target:
    """One query under attack.

    Attributes:
        query_id: the example.
        label: what it is, and what is predicted before the attack.
        fewest: training images whose change flips it; None where the most that were tried do not.
        attacked_id: the training image that was changed first, of label `attacked_label`.
        change: how its pixels moved, in levels, [C, H, W].
    """

    query_id: str
    label: str
    fewest: int | None
    attacked_id: str
    attacked_label: str
    change: np.ndarray


@dataclass(frozen=True)
class Audit:
    """What the attacks achieved.

    Attributes:
        split: of the queries.
        counts: one a number of training images, rising.
        targets: one a query.
        training_images: in all.
        accuracy: of the retrained top layer on the split.
        agreement: share of the split on which it predicts as the model does.
        width: of the features it is trained on.
        variance: share of the features' variance that these keep.
        levels: of 255 by which a pixel might change.
        largest_change: of any pixel of any attacked image, in levels.
    """

    split: HeldOut
    counts: list[Count]
    targets: list[Target]
    training_images: int
    accuracy: float
    agreement: float
    width: int
    variance: float
    levels: float
    largest_change: float

    @property
    def unseen(self) -> bool:
        """Whether every changed image is the same when it is rounded to 8 bits."""
        return self.levels < 0.5


def metrics(audit: Audit) -> dict[str, object]:
    """The audit as plain values, for audit/metrics.json."""
    return {
        "split": audit.split,
        "queries": len(audit.targets),
        "training_images": audit.training_images,
        "counts": {
            str(count.images): {
                "flipped": count.attack.value,
                "flipped_interval": list(count.attack.interval),
                "control_random": count.random.value,
                "control_label_flip": count.label_flip.value,
            }
            for count in audit.counts
        },
        "fewest": {target.query_id: target.fewest for target in audit.targets},
        "levels_allowed": audit.levels,
        "max_pixel_change_levels": audit.largest_change,
        "top_layer": {
            "accuracy": audit.accuracy,
            "agreement_with_the_model": audit.agreement,
            "features": audit.width,
            "variance_kept": audit.variance,
        },
    }


def write_audit_page(workspace: Workspace, audit: Audit) -> Path:
    """Write the page into the workspace's folder audit/ and return its path.

    Raises:
        UserError: a prepared split is missing.
    """
    shown = audit.targets[:SHOWN]
    wanted: dict[SplitName, list[str]] = {
        "train": [target.attacked_id for target in shown],
        audit.split: [target.query_id for target in shown],
    }
    gallery = load_gallery(workspace, wanted)
    changes = []
    for target in shown:
        changes.append(len(gallery.pictures))
        gallery.pictures.append(encode_picture(magnified(target.change, audit.levels)))
    page = render_page(
        "audit.html.j2",
        gallery,
        data=audit,
        shown=list(zip(shown, changes, strict=True)),
        headline=headline(audit),
        lead=lead(audit),
        chart=_chart(audit),
    )
    settings = {"split": audit.split, "levels": audit.levels, "queries": len(audit.targets)}
    write_page(workspace.audit_page, page, "influence audit", settings, workspace.root, [workspace])
    return workspace.audit_page


def headline(audit: Audit) -> str:
    """What was found, in one sentence."""
    first, last = audit.counts[0], audit.counts[-1]
    if last.attack.found == 0:
        return f"No prediction flips when up to {last.images} training images change{' unseen' if audit.unseen else ''}"
    if first.attack.found:
        return f"One changed training image flips {percent(first.attack.value)} of the predictions"
    return f"{last.images} changed training images flip {percent(last.attack.value)} of the predictions"


def lead(audit: Audit) -> str:
    """How sure that is, and what it is to be held against."""
    last = audit.counts[-1]
    low, high = last.attack.interval
    return (
        f"With up to {last.images} of {counted(audit.training_images)} training images changed, {_little(audit)}, "
        f"{last.attack.found} of {last.attack.total} predictions flipped (95 % interval {percent(low)} "
        f"to {percent(high)}); changed as far by chance, {last.random.found}; given wrong labels, "
        f"{last.label_flip.found}."
    )


def _little(audit: Audit) -> str:
    if audit.unseen:
        return "each so little that in 8 bits it is the same image"
    return f"each pixel by {audit.levels:g} of 255 levels at most"


def _chart(audit: Audit) -> Chart:
    images = [0, *(count.images for count in audit.counts)]
    lines = [
        ("control: by chance", "random", [count.random for count in audit.counts]),
        ("control: wrong labels", "label-flip", [count.label_flip for count in audit.counts]),
        ("attack", "attack", [count.attack for count in audit.counts]),
    ]
    return line_chart(
        "Predictions flipped",
        "Share of the predictions that flip by the number of training images that may be changed.",
        "training images changed, at most",
        "predictions flipped (%)",
        [Series(name, style, images, [0, *(100 * share.value for share in shares)]) for name, style, shares in lines],
        x_range=(0, images[-1]),
        y_range=(0, 100),
        whole_x=True,
    )


def magnified(change: np.ndarray, largest: float) -> np.ndarray:
    """A change as a picture: grey is none, white and black are as far up and down as a pixel might change.

    Args:
        change: in levels, [C, H, W].
        largest: change that a pixel might have, in levels.

    Returns:
        uint8 [C, H, W].
    """
    return np.clip(GREY + (GREY - 1) * change / largest, 0, 255).round().astype(np.uint8)
