"""What the reviewers together have decided of each example."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tasks.reviews.verdict import Verdict


@dataclass(frozen=True)
class Settled:
    """What counts of the verdicts on one example.

    Attributes:
        state: settled, where all who decided agree; contested, where they do not; unsure, where nobody decided.
        verdict: the last of those that agree; None unless settled.
        counted: the last verdict of each reviewer that was not withdrawn, in the order given.
    """

    state: Literal["settled", "contested", "unsure"]
    verdict: Verdict | None
    counted: list[Verdict]


class Agreement(NamedTuple):
    """Of the examples that two reviewers or more decided: the share on which all agree (None of none), and how many."""

    share: float | None
    examples: int


def settle(verdicts: Iterable[Verdict]) -> dict[str, Settled]:
    """By example id; an example of which every verdict was withdrawn is not among them.

    Only the last verdict of each reviewer counts, by its place and not by the clock, and `unsure` decides nothing.

    Args:
        verdicts: in the order in which they were given.
    """
    last: dict[str, dict[str, Verdict]] = defaultdict(dict)
    for verdict in verdicts:
        own = last[verdict.example_id]
        own.pop(verdict.reviewer, None)  # so that the order is that of what counts
        own[verdict.reviewer] = verdict
    counted = {
        example_id: [verdict for verdict in own.values() if verdict.verdict != "withdrawn"]
        for example_id, own in last.items()
    }
    return {example_id: _settle(own) for example_id, own in counted.items() if own}


def agreement(verdicts: Iterable[Verdict]) -> Agreement:
    """How far the reviewers agree where more than one has decided."""
    several = [
        settled.state == "settled"
        for settled in settle(verdicts).values()
        if sum(verdict.verdict != "unsure" for verdict in settled.counted) > 1
    ]
    return Agreement(sum(several) / len(several) if several else None, len(several))


def considered(verdict: Verdict, suggested: str | None) -> bool:
    """Whether the reviewer had before them the label that is suggested now, or chose against all labels or for it.

    Without this a relabelled example would be asked about again as soon as the model suggests its old label.
    """
    known = (None, verdict.given_label, verdict.suggested_label, verdict.new_label)
    return verdict.verdict == "drop" or suggested in known


def _settle(counted: list[Verdict]) -> Settled:
    deciding = [verdict for verdict in counted if verdict.verdict != "unsure"]
    if not deciding:
        return Settled("unsure", None, counted)
    if len({verdict.decision for verdict in deciding}) > 1:
        return Settled("contested", None, counted)
    return Settled("settled", deciding[-1], counted)
