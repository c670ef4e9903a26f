"""What new rows would do as training examples, at a frozen model: the run's weights, curvature and solved queries."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from influence.scores import TwoSidedTop
from tasks.artifacts import NEW_ROWS, SCORES, TOP, provenance, read_json, write_table
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.index import frozen_model
from tasks.new_examples import read_new
from tasks.parameters import Parameters
from tasks.problem import load_gradients
from tasks.progress import Progress
from tasks.score import Scorer, top_columns
from tasks.solver import factors_of
from tasks.workspace import Workspace


@dataclass(frozen=True)
class NewRows:
    """Rows scored.

    Attributes:
        rows: how many.
        harmful: how many are predicted to raise the loss of the misread validation examples together.
        own: Parquet file with a row each.
        top: Parquet file of the most helpful and harmful ones for every solved query.
    """

    rows: int
    harmful: int
    own: Path
    top: Path


def score_new_rows(workspace: Workspace, parameters: Parameters, path: Path) -> NewRows:
    """Score the rows of a file as training examples, and write frozen/self.parquet and frozen/top.parquet.

    A score is the predicted fall of a loss if the row were added to training, to first order: the sign is that of the
    scores of training examples. The training set is not read, and n stays its size.

    Raises:
        UserError: the file cannot be read as `prepare.source` says, or a stage has not run yet.
    """
    new, folder = read_new(workspace, parameters, path), workspace.root / "frozen"
    solved, k = read_json(workspace.curvature_report), parameters.score.k
    examples = pq.read_metadata(workspace.split("train")).num_rows
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        scorer = Scorer(workspace, parameters, new, device, examples)
        progress = Progress("score --frozen-model", len(new))
        parts = [(members, scorer(name, progress.advance)) for name, members in scorer.parts.items()]
        problem = load_gradients(workspace, parameters, new, device).problem
        losses, predicted = [], []
        for inputs, targets in new.batches(512, device):
            with torch.no_grad():
                outputs = problem.outputs(problem.parameters, inputs)
            losses += problem.objective.loss(outputs, targets).tolist()
            predicted += outputs.argmax(dim=1).tolist()
    scores, top = np.empty((3, len(new)), np.float32), TwoSidedTop(len(scorer.queries.ids), k)
    for members, part in parts:
        scores[:, members] = part["own"].numpy()
        top.merge(TwoSidedTop.from_state(k, part, torch.from_numpy(members)))
    made = provenance(
        "score --frozen-model",
        parameters.score.model_dump(mode="json"),
        [
            path,
            *(file.relative_to(workspace.root) for file in (workspace.weights, workspace.factors, workspace.queries)),
        ],
        workspace.root,
    )
    meaning = {
        "meaning": "predicted fall of the loss if the row were added to training, to first order",
        "sign": "positive: helpful; negative: harmful",
        "unit": "nats",
        "n": examples,
        "damping": solved["damping"],
        "frozen_model": {
            "model": frozen_model(workspace, parameters),
            "note": "weights, curvature and solutions are those of the run, in which these rows have no part",
            "curvature": factors_of(solved["curvature"]),
            "solver": solved["solver"],
        },
    }
    classes = new.encoding.classes
    columns = {
        "example_id": new.ids,
        "label": [classes[place] for place in new.labels.tolist()],
        "predicted": [classes[place] for place in predicted],
        "loss": losses,
        "self_influence": scores[0],
        "influence_on_errors": scores[1],
    }
    own, tops = folder / "self.parquet", folder / "top.parquet"
    write_table(own, pa.table(columns), NEW_ROWS, {**made, SCORES: meaning})
    write_table(tops, pa.table(top_columns(scorer.queries.ids, new.ids, top)), TOP, {**made, SCORES: meaning})
    return NewRows(len(new), int((scores[1] < 0).sum()), own, tops)
