"""Which training examples need not be flagged again, since people have answered for them."""

import numpy as np

from tasks.artifacts import read_table
from tasks.reviews import store
from tasks.reviews.applying import APPLIED
from tasks.reviews.settling import considered, settle
from tasks.workspace import Workspace


def answered(workspace: Workspace, ids: list[str], suggested: list[str]) -> np.ndarray:
    """Whether each example has a verdict that prepare applied, and that knew of what is suggested now, bool [N].

    Args:
        workspace: after prepare.
        ids: of the training examples, [N].
        suggested: the label that is suggested for each, [N].

    Raises:
        UserError: the verdicts, or the record of what was done with them, are missing or damaged.
    """
    record = read_table(workspace.applied_verdicts, ["example_id", "outcome"]).to_pylist()
    applied = {row["example_id"] for row in record if row["outcome"] == APPLIED}
    counted = {example_id: one.counted for example_id, one in settle(store.read(workspace)).items()}
    return np.array(
        [
            example_id in applied and any(considered(verdict, label) for verdict in counted.get(example_id, []))
            for example_id, label in zip(ids, suggested, strict=True)
        ],
        dtype=bool,
    )
