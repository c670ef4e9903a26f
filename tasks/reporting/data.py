"""Everything the report's page says, as plain values."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.parameters import Parameters
from tasks.reporting.detection import Detection
from tasks.reporting.exhibits import Gallery
from tasks.reporting.formatting import power_of_ten
from tasks.reporting.since import Since
from tasks.workspace import SplitName


@dataclass(frozen=True)
class Flag:
    """One suspect training example; `true_label` is known of planted errors only."""

    rank: int
    example_id: str
    given: str
    suggested: str
    error_probability: float
    loss: float
    self_influence: float
    reason: str
    evidence_for: list[str]
    evidence_against: list[str]
    true_label: str | None
    ranks: dict[str, int]  # that the simple signals give it, 1 the most suspect
    judged: bool  # a review has settled it
    new: bool  # not among the open flags of the run before; False where there is none


@dataclass(frozen=True)
class Finding:
    """Something else worth knowing: of an example and perhaps the one it repeats, or of a group."""

    example_id: str | None
    other_id: str | None
    group: str | None
    words: str


@dataclass(frozen=True)
class Neighbour:
    """A training example and its influence on a query, in nats; positive is helpful."""

    example_id: str
    label: str
    influence: float


@dataclass(frozen=True)
class Query:
    example_id: str
    label: str
    predicted: str
    loss: float
    helpful: list[Neighbour]
    harmful: list[Neighbour]

    @property
    def power(self) -> int:
        """The power of ten in which its influences read well."""
        return power_of_ten([neighbour.influence for neighbour in [*self.helpful, *self.harmful]])


@dataclass(frozen=True)
class ClassCount:
    label: str
    splits: dict[SplitName, int]
    flagged: int


@dataclass(frozen=True)
class SliceCount:
    column: str
    value: str
    train: int
    flagged: int


@dataclass(frozen=True)
class EpochRow:
    epoch: int
    split: str
    loss: float


@dataclass(frozen=True)
class ReportData:
    """What the page says. `detections` is None where no error was planted."""

    title: str
    parameters: Parameters
    kind: str
    shape: list[int]
    flags: list[Flag]
    cards: list[Flag]  # those of the flags that are shown with their evidence
    expected_errors: float  # among the flags that nobody has judged
    estimated_errors: float  # in the whole training set, but for what is judged
    validation_trusted: bool  # whether the validation labels were taken to be right
    shared: dict[str, float]  # by signal, the share of the flags that it would have listed too
    since: Since
    pairs: list[tuple[str, str, int]]  # given label, suggested label, flags; the most frequent first
    findings: dict[str, tuple[int, list[Finding]]]  # by kind: how many, and the strongest
    classes: list[ClassCount]
    slices: list[SliceCount]
    model: dict[str, Any]  # model/metrics.json
    scores: dict[SplitName, dict[str, float]]  # loss and accuracy of each split, as far as measured
    curve: list[EpochRow]
    curvature: dict[str, Any]  # curvature/report.json
    validation: dict[str, Any]  # validation/metrics.json
    self_influence: np.ndarray  # [N], in the order of flags/signals.parquet
    flagged: np.ndarray  # bool [N]
    queries: list[Query]
    planted: int
    planted_flagged: int
    detections: dict[str, Detection] | None
    training_labels: dict[str, str]  # of the examples shown as evidence
    gallery: Gallery
    other_flags: Gallery  # those without a card, as far as the table shows them

    @property
    def to_review(self) -> list[Flag]:
        """The flags that no review has settled."""
        return [flag for flag in self.flags if not flag.judged]

    @property
    def training_examples(self) -> int:
        return len(self.flagged)
