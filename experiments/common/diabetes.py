"""The hospital stays of Strack et al. 2014, encoded and split as in the released code of Koh & Liang 2017."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from influence.problem import TensorData
from tasks.errors import UserError

FILE = "diabetic_data.csv.gz"
NUMBERS = [
    "time_in_hospital", "num_lab_procedures", "num_procedures", "num_medications", "number_outpatient",
    "number_emergency", "number_inpatient", "number_diagnoses",
]  # fmt: skip
CATEGORIES = [
    "gender", "race", "age", "discharge_disposition_id", "max_glu_serum", "A1Cresult", "metformin", "repaglinide",
    "nateglinide", "chlorpropamide", "glimepiride", "acetohexamide", "glipizide", "glyburide", "tolbutamide",
    "pioglitazone", "rosiglitazone", "acarbose", "miglitol", "troglitazone", "tolazamide", "examide", "citoglipton",
    "insulin", "glyburide-metformin", "glipizide-metformin", "glimepiride-pioglitazone", "metformin-rosiglitazone",
    "metformin-pioglitazone", "change", "diabetesMed",
]  # fmt: skip
CHILD = "age_[0-10)"


@dataclass(frozen=True)
class Stays:
    """Hospital stays.

    Attributes:
        features: [N, P], as they are: numbers are not scaled.
        readmitted: whether the patient came back in less than 30 days, [N] of 0 and 1.
        names: of the features.
    """

    features: Tensor
    readmitted: Tensor
    names: list[str]

    @property
    def children(self) -> Tensor:
        """Which patients are younger than 10, [N]."""
        return self.features[:, self.names.index(CHILD)] == 1

    @property
    def examples(self) -> TensorData:
        return TensorData(self.features, self.readmitted)

    def select(self, rows: Tensor) -> "Stays":
        """The stays at these positions, or where a mask holds."""
        return Stays(self.features[rows], self.readmitted[rows], self.names)


def load_stays(folder: Path) -> Stays:
    """All stays, in the file's order.

    Raises:
        UserError: the file is missing or is another.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no {FILE}: it must be the folder of the diabetes 130-US data")
    # "None" is a measurement that was not taken, not a missing value.
    table = pd.read_csv(path, keep_default_na=False, low_memory=False)
    if missing := [name for name in [*NUMBERS, *CATEGORIES, "readmitted"] if name not in table.columns]:
        raise UserError(f"{path} has no column {missing[0]!r}: it must be the diabetes 130-US data")
    encoded = pd.concat([table[NUMBERS], *(_one_hot(table[name]) for name in CATEGORIES)], axis=1)
    readmitted = torch.tensor((table["readmitted"] == "<30").to_numpy(np.int64))
    return Stays(torch.tensor(encoded.to_numpy(np.float64)), readmitted, list(encoded.columns))


def split(stays: Stays, per_class: int, seed: int) -> tuple[Stays, Stays]:
    """A training set with so many stays of either outcome, drawn at random, and all others; both shuffled."""
    generator = np.random.RandomState(seed)  # the released code's stream
    outcomes = stays.readmitted.numpy()
    positive, negative = np.flatnonzero(outcomes == 1), np.flatnonzero(outcomes == 0)
    generator.shuffle(positive)
    generator.shuffle(negative)
    train = np.concatenate([positive[:per_class], negative[:per_class]])
    test = np.concatenate([positive[per_class:], negative[per_class:]])
    generator.shuffle(train)
    generator.shuffle(test)
    return stays.select(torch.from_numpy(train)), stays.select(torch.from_numpy(test))


def without_most_children(train: Stays) -> Stays:
    """All stays but those of children who were not readmitted, of whom the last is kept."""
    left_out = (train.children & (train.readmitted == 0)).nonzero().squeeze(1)[:-1]
    kept = torch.ones(len(train.readmitted), dtype=torch.bool)
    kept[left_out] = False
    return train.select(kept)


def _one_hot(column: "pd.Series[str]") -> pd.DataFrame:
    """One feature a category, in order; a single one where there are two."""
    categories = pd.Categorical(column)
    return pd.get_dummies(categories, prefix=str(column.name), drop_first=len(categories.categories) == 2)
