"""E-mails of which some labels are changed, and how suspect each label is by every score."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer

from experiments.common.enron import Mails, count_words
from experiments.common.probe import (
    Probe,
    cross_validated_margins,
    leave_one_out_margins,
    loss,
    nearest,
    self_influence,
)
from experiments.common.shipped import Shipped
from influence.detection import fuse
from tasks.parameters import Section
from tasks.workspace import SplitName

UNIFORM, CONDITIONAL = "uniform", "class_conditional"
KINDS = (UNIFORM, CONDITIONAL)
SELF_INFLUENCE, LOSS, FLAGS = "self_influence", "loss", "flags"


class Parameters(Section):
    weight_decay: float = 1e-4
    fewest: int = 11  # training e-mails that a word must occur in: about 3,300 words do
    flipped: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1  # of all labels
    seeds: Annotated[int, Field(ge=2)] = 40  # of the labels that are changed
    tfidf_weight_decay: float = 1e-3
    folds: Annotated[int, Field(ge=2)] = 5
    neighbours: int = 20


@dataclass(frozen=True)
class Inspection:
    """What stays the same when labels are changed.

    Attributes:
        parameters: of the experiment.
        shipped: the pipeline; its split is everybody's.
        train, validation, test: the e-mails, with their true labels.
        counts, test_counts: of their words.
        tfidf: of the training e-mails, rows of length 1.
        nearest: positions of each training e-mail's nearest others by tf-idf.
    """

    parameters: Parameters
    shipped: Shipped
    train: Mails
    validation: Mails
    test: Mails
    counts: csr_matrix
    test_counts: csr_matrix
    tfidf: csr_matrix
    nearest: np.ndarray

    @classmethod
    def of(cls, shipped: Shipped, parameters: Parameters) -> "Inspection":
        train, validation, test = shipped.split("train"), shipped.split("validation"), shipped.split("test")
        counts, test_counts = count_words(train, test, parameters.fewest)
        tfidf = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
        near = nearest(tfidf, parameters.neighbours)
        return cls(parameters, shipped, train, validation, test, counts, test_counts, tfidf, near)

    def change(self, kind: str, generator: np.random.Generator) -> dict[SplitName, np.ndarray]:
        """Labels of the training and the validation split with some changed."""
        share = self.parameters.flipped
        return {
            "train": flip(self.train.spam, kind, share, generator),
            "validation": flip(self.validation.spam, kind, share, generator),
        }

    def accuracy(self, labels: np.ndarray) -> tuple[float, float]:
        """Test accuracy of the paper's model trained on these labels, and the norm of its gradient."""
        probe = Probe.fit(self.counts, labels, self.parameters.weight_decay)
        return probe.accuracy(self.test_counts, self.test.spam), probe.gradient_norm

    def scores(self, labels: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """How suspect each training e-mail is with these labels, [N], larger for the more suspect, by score."""
        parameters = self.parameters
        probe = Probe.fit(self.counts, labels, parameters.weight_decay)
        margins, leverages = probe.margins, probe.leverages()
        left_out = loss(leave_one_out_margins(margins, leverages))
        folds = generator.permutation(np.arange(len(labels)) % parameters.folds)
        held_out = cross_validated_margins(self.counts, labels, parameters.weight_decay, folds)
        others = (labels[self.nearest] != labels[:, None]).mean(axis=1)
        return {
            SELF_INFLUENCE: self_influence(margins, leverages),
            LOSS: loss(margins),
            "leave_one_out_loss": left_out,
            "cross_validated_margin": -held_out,
            "tfidf_loss": loss(Probe.fit(self.tfidf, labels, parameters.tfidf_weight_decay).margins),
            "neighbours": others,
            "neighbours_and_leave_one_out_loss": fuse({"neighbours": others, "leave_one_out_loss": left_out}),
        }


def flip(labels: np.ndarray, kind: str, share: float, generator: np.random.Generator) -> np.ndarray:
    """The labels 0 and 1 with a share of all of them changed: any, or zeros (ham) alone."""
    candidates = np.arange(len(labels)) if kind == UNIFORM else np.flatnonzero(labels == 0)
    changed = labels.copy()
    chosen = generator.choice(candidates, min(round(share * len(labels)), len(candidates)), replace=False)
    changed[chosen] = 1 - changed[chosen]
    return changed
