"""Which validation examples are the queries of a run: those that the model misreads, and a sample of the others."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.artifacts import read_table
from tasks.dataset import Split
from tasks.errors import UserError
from tasks.parameters import Precondition
from tasks.workspace import Workspace


def choose_queries(workspace: Workspace, validation: Split, settings: Precondition, seed: int) -> np.ndarray:
    """Positions in the validation split: its errors of largest loss, then a random sample of the others.

    Raises:
        UserError: the predictions are of another validation split, or no example is a query.
    """
    table = _predicted(workspace, validation)
    wrong = np.flatnonzero(misread(workspace, validation))
    worst = wrong[np.argsort(-table["loss"].to_numpy()[wrong], kind="stable")][: settings.queries.errors]
    others = np.setdiff1d(np.arange(len(validation)), worst)
    sample = np.random.default_rng([seed, 1]).permutation(others)[: settings.queries.sample]
    if not len(worst) + len(sample):
        raise UserError(
            "`precondition.queries` asks for nothing but misread validation examples, and the model misreads none: "
            "set `precondition.queries.sample` above 0"
        )
    return np.concatenate([worst, np.sort(sample)])


def misread(workspace: Workspace, validation: Split) -> np.ndarray:
    """Which validation examples the model predicts as another label than theirs, bool [V].

    Raises:
        UserError: the predictions are of another validation split.
    """
    table = _predicted(workspace, validation)
    found: np.ndarray = pc.not_equal(table["label"], table["predicted"]).to_numpy()
    return found


def _predicted(workspace: Workspace, validation: Split) -> pa.Table:
    table = read_table(workspace.predictions, ["split", "label", "predicted", "loss"])
    table = table.filter(pc.equal(table["split"], "validation"))
    if len(table) != len(validation):
        raise UserError(f"{workspace.predictions} is not of the validation split in data/prepared: rerun train")
    return table
