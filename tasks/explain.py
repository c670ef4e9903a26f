"""The training examples that helped and that harmed one prediction."""

import torch

from influence.scores import TwoSidedTop
from tasks.parameters import Parameters
from tasks.query import SolvedQuery, solved_query
from tasks.reporting.explanation import Explanation, Neighbour
from tasks.workspace import Workspace


def explain(workspace: Workspace, parameters: Parameters, query_id: str, k: int = 10) -> Explanation:
    """Solve for one example of any split as the query, to the tolerance of the pipeline, and score the training set.

    Args:
        query_id: an example_id.
        k: how many helpful and how many harmful training examples to tell.

    Raises:
        UserError: no split holds the example, or a stage has not run yet, or not since data were prepared anew.
    """
    with solved_query(workspace, parameters, query_id) as query:
        top, start = TwoSidedTop(1, k), 0
        for scores in query.scores("explain"):
            top.update(scores.unsqueeze(0), torch.arange(start, start + len(scores)))
            start += len(scores)
        return explanation(query_id, query, top)


def explanation(query_id: str, query: SolvedQuery, top: TwoSidedTop) -> Explanation:
    """What the strongest scores of a query say, in words of the data."""
    train, classes = query.train, query.train.encoding.classes

    def neighbours(indices: list[int], values: list[float]) -> list[Neighbour]:
        return [
            Neighbour(train.ids[i], classes[int(train.labels[i])], query.predicted[i], value)
            for i, value in zip(indices, values, strict=True)
            if i >= 0
        ]

    return Explanation(
        query_id=query_id,
        split=query.split,
        label=query.own["label"],
        predicted=query.own["predicted"],
        loss=query.own["loss"],
        damping=query.damping,
        residual=query.residual,
        helpful=neighbours(*(tensor[0].tolist() for tensor in top.helpful())),
        harmful=neighbours(*(tensor[0].tolist() for tensor in top.harmful())),
    )
