"""Explain the queries that wait in the inbox: those that the present model has not explained yet."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tasks.artifacts import ANSWERS, content_hash, fingerprint, provenance, read_table, write_table
from tasks.explain import explain
from tasks.inbox import read_inbox
from tasks.parameters import Parameters
from tasks.reporting.explanation import Explanation, write_explanation
from tasks.stage import Work, main
from tasks.workspace import SPLITS, Workspace


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Write a page for each new query, and explain/answers.parquet with the answers of the present model.

    A query is new until this model has explained it, so a killed run goes on where it was, and another model answers
    all of them again. An id that no split holds stays in wait: the next full run may bring it.

    Raises:
        UserError: the inbox cannot be read, or a stage has not run yet.
    """
    wanted = read_inbox(workspace.root / parameters.explain.inbox)
    if not wanted:
        print(f"explain_new: nothing waits in {parameters.explain.inbox}", flush=True)
        return Work(0)
    model, known = model_identity(workspace), _known(workspace)
    answers = _answers(workspace, model)
    answered = set(answers["query_id"].to_pylist())
    missing = [query for query in wanted if query not in known]
    waiting = [query for query in wanted if query in known and query not in answered]
    turn = waiting[: parameters.explain.at_once]
    inputs = [workspace.split("train"), workspace.weights, workspace.factors]
    origin = provenance("explain_new", parameters.explain.model_dump(), inputs)
    for query in turn:
        found = explain(workspace, parameters, query, parameters.explain.k)
        write_explanation(workspace, found)
        answers = pa.concat_tables([answers, pa.Table.from_pylist(_rows(found, model), ANSWERS)])
        write_table(answers_path(workspace), answers, ANSWERS, origin)
    for query in missing:
        print(f"explain_new: no example has the id {query!r} yet: it stays in wait", flush=True)
    print(
        f"explain_new: {len(turn)} queries explained, {len(waiting) - len(turn)} left for the next turn, "
        f"{len(missing)} unknown",
        flush=True,
    )
    return Work(len(turn))


def answers_path(workspace: Workspace) -> Path:
    return workspace.root / "explain/answers.parquet"


def model_identity(workspace: Workspace) -> str:
    """What the answers depend on: the training set, the weights and the curvature."""
    return fingerprint(*map(content_hash, (workspace.split("train"), workspace.weights, workspace.factors)))


def _known(workspace: Workspace) -> set[str]:
    ids: set[str] = set()
    for split in SPLITS:
        ids.update(read_table(workspace.split(split), ["example_id"])["example_id"].to_pylist())
    return ids


def _answers(workspace: Workspace, model: str) -> pa.Table:
    """Those that this model has given already."""
    path = answers_path(workspace)
    if not path.exists():
        return ANSWERS.empty_table()
    table = read_table(path).cast(ANSWERS)
    return table.filter(pc.equal(table["model"], model))


def _rows(found: Explanation, model: str) -> list[dict[str, object]]:
    about = {
        "query_id": found.query_id,
        "model": model,
        "split": found.split,
        "label": found.label,
        "predicted": found.predicted,
        "loss": found.loss,
    }
    return [
        {**about, "example_id": neighbour.example_id, "influence": neighbour.influence, "tail": tail, "rank": rank}
        for tail, neighbours in (("helpful", found.helpful), ("harmful", found.harmful))
        for rank, neighbour in enumerate(neighbours, start=1)
    ]


if __name__ == "__main__":
    main("explain_new", run)
