"""One verdict: what somebody said of an example, and what was shown to them when they said it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from tasks.errors import UserError

Answer = Literal["keep", "relabel", "drop", "unsure", "withdrawn"]
Kind = Literal["label", "conflict", "outlier", "leak"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)


@dataclass(frozen=True)
class Verdict:
    """A row of reviews/verdicts.parquet. Its fields from `run` on are its ground: what the reviewer was shown.

    Attributes:
        example_id: whom it is about.
        verdict: keep (the given label is right), relabel, drop (it should not be learned from), unsure,
            or withdrawn (the reviewer takes back what they said of this example before).
        new_label: the right label, of a relabel only.
        reviewer: who said it.
        time: when, in UTC.
        run: identity of the run that asked.
        kind: why it was asked about.
        content: hash of the example's input (see `tasks.reviews.content`).
        given_label: what the data said, before any verdict.
        suggested_label: what stood beside it.
        error_probability: of the label that the model had learned.
        rank: its place among the flags, 1 the most suspect; None where it was not flagged.
        reason: in words.
        evidence: ids of the training examples shown for and against it.
        signals: by name, the share of the training set that is less suspect by this signal than the example.
        fused_log_odds: of an error, by the fused signals alone; None of held-out examples.
    """

    example_id: str
    verdict: Answer
    new_label: str | None
    reviewer: str
    time: datetime
    run: str
    kind: Kind
    content: str
    given_label: str
    suggested_label: str | None = None
    error_probability: float | None = None
    rank: int | None = None
    reason: str = ""
    evidence: list[str] = field(default_factory=list)
    signals: dict[str, float] = field(default_factory=dict)
    fused_log_odds: float | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be applied.

        Raises:
            UserError: the verdict is of no known kind, has no reviewer, or its new label does not go with it.
        """
        if self.verdict not in ANSWERS:
            raise UserError(f"unknown verdict {self.verdict!r} on {self.example_id!r}: say one of {', '.join(ANSWERS)}")
        if not self.reviewer.strip():
            raise UserError(f"the verdict on {self.example_id!r} has no reviewer: say who it is from")
        if (self.verdict == "relabel") != bool(self.new_label):
            raise UserError(
                f"the verdict {self.verdict} on {self.example_id!r} has new label {self.new_label!r}: "
                "a relabel needs one, and nothing else has one"
            )

    @property
    def decision(self) -> tuple[Answer, str | None]:
        """What two reviewers who agree have in common."""
        return self.verdict, self.new_label
