"""What the pipeline itself flags: its stages, run on e-mails in a workspace of their own."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from experiments.common.enron import HAM, SPAM, Mails
from tasks import precondition, prepare, score, train
from tasks.artifacts import read_table, write_table
from tasks.dataset import load_split
from tasks.flag import FUSED, detect
from tasks.parameters import Parameters, Precondition, Prepare, Queries, TableSource, Train
from tasks.workspace import SplitName, Workspace

FILE = "mails.parquet"
CLASSES = np.array([HAM, SPAM], dtype=object)
PREPARE = Prepare(path=FILE, source=TableSource(kind="parquet", label="label", text="text"), validation=0.1, test=0.1)
TRAIN = Train(factory="text_linear", epochs=20, optimizer="adam", learning_rate=0.01, weight_decay=1e-4)
PRECONDITION = Precondition(queries=Queries(errors=0, sample=1))  # the flags do not depend on the queries


def parameters(seed: int) -> Parameters:
    """What `influence init` writes for a column of text."""
    return Parameters(seed=seed, prepare=PREPARE, train=TRAIN, precondition=PRECONDITION)


class Shipped:
    """The pipeline on one set of e-mails, with as many versions of their labels as one likes.

    Args:
        folder: empty; becomes a workspace.
        mails: all e-mails. `prepare` splits them.
        seed: of the split.
    """

    def __init__(self, folder: Path, mails: Mails, seed: int) -> None:
        self.workspace, self.seed = Workspace(folder), seed
        pq.write_table(pa.table({"text": mails.texts, "label": CLASSES[mails.spam]}), folder / FILE)
        with contextlib.redirect_stdout(io.StringIO()):
            prepare.run(self.workspace, parameters(seed))

    def split(self, name: SplitName) -> Mails:
        """The e-mails of one split, with their true labels."""
        table = read_table(self.workspace.split(name), ["display", "given_label"])
        return Mails(
            table["display"].to_pylist(),
            np.array([label == SPAM for label in table["given_label"].to_pylist()], np.int64),
        )

    def suspicion(self, labels: Mapping[SplitName, np.ndarray], seed: int) -> dict[str, np.ndarray]:
        """How suspect each training e-mail is to the pipeline: the ranking of the flags, and the signals it fuses.

        Args:
            labels: 0 and 1 as they are given to the pipeline, of the training and the validation split.
            seed: of training.

        Returns:
            by name, [N], larger for the more suspect.
        """
        settings = parameters(seed)
        for name, given in labels.items():
            self._relabel(name, given)
        with contextlib.redirect_stdout(io.StringIO()):
            for stage in (train, precondition, score):
                stage.run(self.workspace, settings)
            training = load_split(self.workspace, "train")
            found = detect(self.workspace, settings, training, torch.device("cpu"))
        rank = np.empty(len(training))
        rank[found.order] = np.arange(len(training))
        return {"flags": -rank, **{name: found.signals.columns[name].astype(np.float64) for name in FUSED}}

    def _relabel(self, name: SplitName, given: np.ndarray) -> None:
        path = self.workspace.split(name)
        table = read_table(path)
        column = table.schema.get_field_index("label")
        table = table.set_column(column, "label", pa.array(CLASSES[given], pa.string()))
        write_table(path, table, table.schema)
