"""Which training examples speak for a flagged label and which against it."""

from dataclasses import dataclass

import numpy as np
import torch

from influence.memory import gradient_batch
from influence.scores import Pairwise, TwoSidedTop
from tasks.dataset import Split
from tasks.parameters import Parameters
from tasks.precondition import query_gradients
from tasks.problem import load_ekfac, load_gradients
from tasks.progress import Progress
from tasks.workspace import Workspace

OPPONENTS = 10  # of whom the labels are counted


@dataclass(frozen=True)
class Evidence:
    """Positions of training examples for each flagged one, the strongest first.

    Attributes:
        supporting: the most helpful of those that bear the given label: without them, the model would lose more on it.
        opposing: the most harmful of those that bear the suggested label: without them, the model would lose less.
        opponents_suggested: share of the most harmful of all that bear the suggested label; None: not asked for, or
            nothing harms it.
    """

    supporting: list[list[int]]
    opposing: list[list[int]]
    opponents_suggested: list[float | None]


def find_evidence(
    workspace: Workspace,
    parameters: Parameters,
    train: Split,
    flagged: np.ndarray,
    suggested: np.ndarray,
    device: torch.device,
) -> Evidence:
    """Influence of the whole training set on a flagged example's loss, through EK-FAC; its two tails are kept.

    Over all labels the most helpful examples would often be other errors of the same kind, which tell a person little;
    so each tail is of one label. An example is no evidence about itself. Flags beyond `flag.explained` have none: where
    a share of the training set is flagged, the cost of all of them is its square.

    Args:
        flagged: positions of the flagged examples, [F], the most suspect first.
        suggested: class index suggested for each of them, [F].
    """
    gradients = load_gradients(workspace, parameters, train, device)
    ekfac, damping = load_ekfac(workspace, gradients)
    k, memory = parameters.flag.evidence, parameters.compute.memory_bytes
    probe, _ = train.batch(slice(0, 1), device)
    size = gradient_batch(gradients.problem, probe, memory // 2)
    at_once = max(1, memory // 8 // (4 * gradients.problem.parameter_count))
    found = Evidence([], [], [])
    explained = parameters.flag.explained if k else 0
    without = len(flagged[explained:])
    flagged, suggested = flagged[:explained], suggested[:explained]
    passes = -(-len(flagged) // at_once)
    progress = Progress("flag: evidence", passes * len(train))
    for start in range(0, len(flagged), at_once):
        queries = flagged[start : start + at_once]
        right = query_gradients(gradients, *train.batch(queries, device))
        solutions = ekfac.power(right, -1.0, damping + parameters.train.weight_decay)
        pairwise, top = Pairwise(gradients, solutions, len(train)), TwoSidedTop(len(queries), k + 1)
        everyone = TwoSidedTop(len(queries), OPPONENTS + 1)
        for first in range(0, len(train), size):
            members = np.arange(first, min(first + size, len(train)))
            inputs, labels = train.batch(members, device)
            scores = pairwise.batch(inputs, labels)
            supports = (scores > 0) & (labels == train.labels[queries].to(device)[:, None])
            opposes = (scores < 0) & (
                labels == torch.from_numpy(suggested[start : start + at_once]).to(device)[:, None]
            )
            top.update(torch.where(supports | opposes, scores, torch.zeros_like(scores)), torch.from_numpy(members))
            everyone.update(scores, torch.from_numpy(members))
            progress.advance(len(members))
        found.supporting.extend(_others(top.helpful()[0], queries, k))
        found.opposing.extend(_others(top.harmful()[0], queries, k))
        strongest = _others(everyone.harmful()[0], queries, OPPONENTS)
        for opponents, label in zip(strongest, suggested[start : start + at_once], strict=True):
            bearing = train.labels[opponents] == int(label)
            found.opponents_suggested.append(float(bearing.float().mean()) if opponents else None)
    found.supporting.extend([] for _ in range(without))
    found.opposing.extend([] for _ in range(without))
    found.opponents_suggested.extend([None] * without)
    return found


def _others(indices: torch.Tensor, queries: np.ndarray, k: int) -> list[list[int]]:
    return [
        [index for index in row if index not in (-1, query)][:k]
        for row, query in zip(indices.tolist(), queries.tolist(), strict=True)
    ]
