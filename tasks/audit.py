"""How few training images an attacker needs to change, so little that nobody sees it, to flip a prediction.

The model's features stay as they are, and a linear layer on them is trained again, exactly, after every change (Koh &
Liang 2017, section 5.2). A training that learns the features anew may be easier to attack, or harder.
"""

import numpy as np
import torch
from torch import Tensor, nn

from influence.attack import ROUNDING, Goals
from influence.objective import SoftmaxCrossEntropy
from influence.retraining import NotConvergedError
from influence.retraining.top_layer import TopLayer, outputs
from tasks.artifacts import write_json
from tasks.attacking import Attacker, Outcome, joined
from tasks.dataset import Split, load_split
from tasks.determinism import derived_seed, deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.extractor import Extractor
from tasks.features import FeatureRecorder
from tasks.models import load_model
from tasks.parameters import Parameters
from tasks.predict import evaluation_batch
from tasks.progress import Progress
from tasks.reporting.auditing import Audit, Count, Share, Target, metrics
from tasks.workspace import HeldOut, Workspace

TOGETHER = 16  # queries attacked at once
TOP_PARAMETERS = 2048  # of the layer that is trained again: its curvature is a dense matrix
SHORTLIST = 256  # training images of a query whose pixels are looked at, those of the most telling features
STEP, ITERATIONS = 0.1, 25  # of the largest change, and at most so many: a pixel may go all the way and back
MOST_CLASSES = 256


def audit(
    workspace: Workspace,
    parameters: Parameters,
    queries: int = 20,
    split: HeldOut = "test",
    levels: float = ROUNDING,
) -> Audit:
    """Attack a random sample of correctly read images, with controls; metrics are written to audit/metrics.json.

    Args:
        queries: how many are attacked, at most.
        split: that they are drawn from.
        levels: of 255 by which a pixel may change. Below one half, the image rounded to 8 bits is the same.

    Raises:
        UserError: the inputs are no images, there is none in the split or none is read correctly, the layer on the
            features has no minimum, or a stage has not run yet.
    """
    train, held_out = load_split(workspace, "train"), load_split(workspace, split)
    _check(train, parameters)
    if not len(held_out):
        raise UserError(f"{workspace.split(split)} holds no examples to attack: choose another with --split")
    classes = len(train.encoding.classes)
    objective = SoftmaxCrossEntropy(parameters.train.weight_decay, decay_biases=True)
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        model = load_model(workspace, parameters, train.encoding, device)
        batch = evaluation_batch(model, train, objective, parameters.compute.memory_bytes // 4)  # gradients too
        model.requires_grad_(False)
        with FeatureRecorder(model, parameters.train.features) as recorder:
            print(f"audit: training a layer on the features of {len(train):,} images", flush=True)
            extract = Extractor(model, recorder, train, parameters.seed, TOP_PARAMETERS // classes - 1, batch)
            top = _trained(objective, extract.training, train.labels.to(device), classes)
            features, labels = extract.of(held_out).double(), held_out.labels.to(device)
            predicted = outputs(top.parameters(1), features)[0].argmax(dim=1)
            chosen = _sample(predicted == labels, queries, parameters.seed, split)
            images = torch.tensor(train.inputs, device=device)
            control = derived_seed(parameters.seed, len(train))
            limits = (SHORTLIST, STEP * levels, ITERATIONS, levels)
            attacker = Attacker(extract, top, images, control, extract.batch, *limits)
            outcome = _attacked(attacker, Goals(features[chosen].unsqueeze(1), labels[chosen].unsqueeze(1)))
        own = _predicted(model, held_out, batch, device)
    result = Audit(
        split=split,
        counts=[_count(outcome, count) for count in attacker.counts],
        targets=_targets(outcome, train, held_out, chosen.tolist()),
        training_images=len(train),
        accuracy=float((predicted == labels).double().mean()),
        agreement=float((predicted == own).double().mean()),
        width=top.data.inputs.shape[1],
        variance=extract.variance,
        levels=levels,
        largest_change=outcome.largest,
    )
    write_json(workspace.audit_metrics, metrics(result))
    return result


def _check(train: Split, parameters: Parameters) -> None:
    if train.encoding.kind != "image":
        raise UserError(
            f"an audit changes the pixels of training images, and the inputs here are of kind {train.encoding.kind}: "
            "it needs a workspace of images"
        )
    if len(train.encoding.classes) > MOST_CLASSES:
        raise UserError(
            f"an audit takes up to {MOST_CLASSES} classes, not {len(train.encoding.classes)}: set `prepare.classes`"
        )
    if parameters.train.weight_decay == 0:
        raise UserError(
            "without weight decay the layer that an audit trains again has no minimum: set `train.weight_decay` above 0"
        )


def _trained(objective: SoftmaxCrossEntropy, features: Tensor, labels: Tensor, classes: int) -> TopLayer:
    try:
        return TopLayer(objective, features, labels, classes)
    except NotConvergedError as error:
        raise UserError(
            f"the layer on the model's features cannot be trained to its minimum ({error}): raise `train.weight_decay`"
        ) from None


def _sample(right: Tensor, queries: int, seed: int, split: HeldOut) -> Tensor:
    """Positions of so many correctly read images, drawn at random, in order."""
    candidates = right.nonzero().squeeze(1).cpu().numpy()
    if not len(candidates):
        raise UserError(f"none of the {len(right)} images of {split} is read correctly: there is nothing to attack")
    drawn = np.random.default_rng([seed, 3]).permutation(candidates)[:queries]
    return torch.from_numpy(np.sort(drawn))


def _attacked(attacker: Attacker, goals: Goals) -> Outcome:
    queries, outcomes = len(goals.targets), []
    progress = Progress("audit", queries * len(attacker.counts), "attacks")
    for rows in torch.arange(queries).split(TOGETHER):
        print(f"audit: choosing images to change for {len(rows)} of {queries} queries", flush=True)

        def tell(flipped: int, here: int = len(rows)) -> None:
            progress.advance(here, f"{flipped} of these {here} queries flipped")

        outcomes.append(attacker.run(goals.select(rows), tell))
    return joined(outcomes)


def _predicted(model: nn.Module, split: Split, batch: int, device: torch.device) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(inputs).argmax(dim=1) for inputs, _ in split.batches(batch, device)])


def _count(outcome: Outcome, images: int) -> Count:
    def share(fewest: Tensor) -> Share:
        return Share(int(((fewest > 0) & (fewest <= images)).sum()), len(fewest))

    return Count(images, share(outcome.attack), share(outcome.random), share(outcome.label_flip))


def _targets(outcome: Outcome, train: Split, held_out: Split, chosen: list[int]) -> list[Target]:
    classes = train.encoding.classes
    return [
        Target(
            query_id=held_out.ids[position],
            label=classes[int(held_out.labels[position])],
            fewest=fewest or None,
            attacked_id=train.ids[first],
            attacked_label=classes[int(train.labels[first])],
            change=change.numpy(),
        )
        for position, fewest, first, change in zip(
            chosen, outcome.attack.tolist(), outcome.first.tolist(), outcome.change, strict=True
        )
    ]
