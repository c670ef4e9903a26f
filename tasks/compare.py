"""How two models explain the same prediction: two workspaces whose data share example ids."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import torch
from scipy.stats import spearmanr

from influence.scores import TwoSidedTop
from tasks.artifacts import read_table
from tasks.dataset import load_encoding
from tasks.errors import UserError
from tasks.explain import explanation
from tasks.objects import import_paths
from tasks.parameters import Parameters, load_parameters
from tasks.query import SolvedQuery, solved_query
from tasks.reporting.comparison import Comparison, Point, Side
from tasks.reporting.explanation import Explanation
from tasks.workspace import Workspace

STRONGEST, SAMPLE = 40, 400  # training examples drawn: of each tail, and at random
BATCH = 512  # training inputs at once
FEWEST = 3  # shared training examples below which a rank correlation says nothing


@dataclass(frozen=True)
class Answer:
    """One model's side, and the influence of all its training examples: ids, and nats [N]."""

    side: Side
    ids: list[str]
    influence: np.ndarray


def compare(first: Workspace, second: Workspace, query_id: str | None = None, k: int = 10) -> Comparison:
    """Explain one query by both models, and tell how far the explanations agree.

    Args:
        first, second: workspaces in which train and precondition have run.
        query_id: an example of both; None: of those that neither was trained on, the one of whose label the models'
            probabilities differ most (total variation distance).
        k: length of the lists of helpful and of harmful training examples.

    Raises:
        UserError: the workspaces share no such example, too few training examples, or not their classes; or a stage has
            not run yet, or not since data were prepared anew.
    """
    workspaces = (first, second)
    parameters = [load_parameters(workspace.parameters) for workspace in workspaces]
    _require_same_classes(*workspaces)
    asked = query_id if query_id is not None else most_disputed(*workspaces)
    names = _names(*workspaces)
    one, other = (
        _answer(workspace, own, name, asked, k)
        for workspace, own, name in zip(workspaces, parameters, names, strict=True)
    )
    position = {example_id: index for index, example_id in enumerate(other.ids)}
    shared = [(index, position[example_id]) for index, example_id in enumerate(one.ids) if example_id in position]
    if len(shared) < FEWEST:
        raise UserError(
            f"{names[0]} and {names[1]} share {len(shared)} training examples: there is nothing to compare; prepare "
            "both from the same data, with the same id column"
        )
    left, right = (answer.influence[[pair[side] for pair in shared]] for side, answer in enumerate((one, other)))
    return Comparison(
        query_id=asked,
        sides=(one.side, other.side),
        shared=len(shared),
        rank_correlation=rank_correlation(left, right),
        k=k,
        both_helpful=len(_strongest(left, k) & _strongest(right, k)),
        both_harmful=len(_strongest(-left, k) & _strongest(-right, k)),
    )


def most_disputed(first: Workspace, second: Workspace) -> str:
    """The validation or test example of both workspaces on which the models' probabilities differ most.

    Raises:
        UserError: there is none.
    """
    one, other = (_held_out(workspace) for workspace in (first, second))
    shared = sorted(one.keys() & other.keys())
    if not shared:
        raise UserError(
            f"{first.root} and {second.root} share no example that neither was trained on: name one with --query, or "
            "prepare both from the same data, with the same id column"
        )
    return max(shared, key=lambda example_id: float(np.abs(one[example_id] - other[example_id]).sum()))


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Spearman's; None where one side has the same value everywhere."""
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(spearmanr(left, right).statistic)


def _held_out(workspace: Workspace) -> dict[str, np.ndarray]:
    """Probabilities of every example outside the training split, by id, in the order of the sorted classes."""
    table = read_table(workspace.predictions, ["example_id", "split", "probabilities"])
    table = table.filter(pc.not_equal(table["split"], "train"))
    order = np.argsort(load_encoding(workspace).classes)
    values = np.array(table["probabilities"].to_pylist()).reshape(len(table), -1)
    return dict(zip(table["example_id"].to_pylist(), values[:, order] if len(values) else values, strict=True))


def _require_same_classes(first: Workspace, second: Workspace) -> None:
    one, other = (set(load_encoding(workspace).classes) for workspace in (first, second))
    if one != other:
        alone = sorted(one ^ other)[0]
        where = first if alone in one else second
        raise UserError(
            f"the models do not tell the same classes apart: only {where.root} has {alone!r}; set "
            "`prepare.classes` alike in both"
        )


def _names(first: Workspace, second: Workspace) -> tuple[str, str]:
    """The folders' names, or as much of the paths as tells them apart."""
    paths = [workspace.root.resolve() for workspace in (first, second)]
    if paths[0].name != paths[1].name:
        return paths[0].name, paths[1].name
    return str(paths[0]), str(paths[1])


def _answer(workspace: Workspace, parameters: Parameters, name: str, query_id: str, k: int) -> Answer:
    with import_paths(workspace.root), solved_query(workspace, parameters, query_id, f"compare: {name}") as query:
        influence = torch.cat(list(query.scores(f"compare: {name}"))).double().cpu()
        top = TwoSidedTop(1, k)
        top.update(influence.unsqueeze(0), torch.arange(len(influence)))
        side = _side(workspace, name, query, explanation(query_id, query, top), influence.numpy())
        return Answer(side, query.train.ids, influence.numpy())


def _side(workspace: Workspace, name: str, query: SolvedQuery, explained: Explanation, influence: np.ndarray) -> Side:
    label = query.train.encoding.classes.index(explained.label)
    same = (query.train.labels == label).numpy()
    distance = _distances(query)
    helps = influence > 0
    chosen = _drawn(influence)
    return Side(
        name=name,
        workspace=workspace,
        explanation=explained,
        probability=float(query.own["probabilities"][label]),
        examples=len(influence),
        distance_correlation=rank_correlation(np.abs(influence), distance),
        helpful_same=float(helps[same].mean()) if same.any() else None,
        helpful_other=float(helps[~same].mean()) if not same.all() else None,
        points=[Point(float(distance[i]), float(influence[i]), bool(same[i])) for i in chosen],
    )


def _distances(query: SolvedQuery) -> np.ndarray:
    """Euclidean distance of every training input from the query's, as the model sees them, [N]."""
    device, parts = query.inputs.device, []
    for inputs, _ in query.train.batches(BATCH, device):
        parts.append((inputs - query.inputs).flatten(1).norm(dim=1))
    return torch.cat(parts).double().cpu().numpy()


def _drawn(influence: np.ndarray) -> list[int]:
    """Positions of the strongest of both tails, and of a random sample of the others."""
    order = np.argsort(influence, kind="stable")
    if len(order) <= 2 * STRONGEST + SAMPLE:
        return [int(index) for index in order]
    tails, rest = np.concatenate([order[:STRONGEST], order[-STRONGEST:]]), order[STRONGEST:-STRONGEST]
    return [int(index) for index in [*tails, *np.random.default_rng(0).choice(rest, SAMPLE, replace=False)]]


def _strongest(influence: np.ndarray, k: int) -> set[int]:
    """Positions of the k largest values above zero."""
    return {int(index) for index in np.argsort(-influence, kind="stable")[:k] if influence[index] > 0}
