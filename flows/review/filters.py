"""Which questions of the queue a reviewer wants to see."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from tasks.reviews.queue import Item, ground_holds, open_to
from tasks.reviews.settling import settle
from tasks.reviews.verdict import Kind, Verdict

Standing = Literal["open", "second", "contested", "unsure", "settled", "mine", "all"]
STANDINGS: dict[Standing, str] = {
    "open": "Open",
    "second": "Settled by others only",
    "contested": "Contested",
    "unsure": "Unsure",
    "settled": "Settled",
    "mine": "Judged by me",
    "all": "All",
}
KINDS: dict[Kind, str] = {
    "label": "Suspect label",
    "conflict": "Near-duplicate, other label",
    "outlier": "Far from all others",
    "leak": "Repeated in training",
}


@dataclass(frozen=True)
class Filters:
    """What an item must be to be shown; None: anything."""

    standing: Standing = "open"
    kind: Kind | None = None
    given: str | None = None
    suggested: str | None = None
    slices: dict[str, str] = field(default_factory=dict)  # value by column

    def match(self, item: Item, reviewer: str) -> bool:
        """Whether this reviewer wants to see it."""
        return (
            (self.kind is None or item.kind == self.kind)
            and (self.given is None or item.given_label == self.given)
            and (self.suggested is None or item.suggested_label == self.suggested)
            and all(item.slices.get(column) == value for column, value in self.slices.items())
            and self._stands(item, reviewer)
        )

    def _stands(self, item: Item, reviewer: str) -> bool:
        match self.standing:
            case "open":
                return open_to(item, reviewer)
            case "second":
                return item.state == "settled" and own_verdict(item, reviewer) is None
            case "mine":
                return own_verdict(item, reviewer) is not None
            case "all":
                return True
            case state:
                return item.state == state


def own_verdict(item: Item, reviewer: str) -> Verdict | None:
    """What this reviewer last said of the example as it is, unless they took it back."""
    last = next((said for said in reversed(item.verdicts) if said.reviewer == reviewer), None)
    if last is None or last.verdict == "withdrawn" or not ground_holds(item, last):
        return None
    return last


def counted_verdicts(item: Item) -> list[Verdict]:
    """The last verdict of each reviewer on the example as it is."""
    settled = settle(said for said in item.verdicts if ground_holds(item, said)).get(item.example_id)
    return settled.counted if settled else []


@dataclass(frozen=True)
class Choices:
    """What there is to choose from, and how many questions each choice leaves; the most frequent first."""

    kinds: dict[Kind, int]
    given: dict[str, int]
    suggested: dict[str, int]
    slices: dict[str, dict[str, int]]  # by column

    @classmethod
    def of(cls, items: Iterable[Item]) -> "Choices":
        kinds: Counter[Kind] = Counter()
        given: Counter[str] = Counter()
        suggested: Counter[str] = Counter()
        slices: dict[str, Counter[str]] = {}
        for item in items:
            kinds[item.kind] += 1
            given[item.given_label] += 1
            if item.suggested_label is not None:
                suggested[item.suggested_label] += 1
            for column, value in item.slices.items():
                slices.setdefault(column, Counter())[value] += 1
        by_column = {column: dict(values.most_common()) for column, values in slices.items()}
        return cls(dict(kinds.most_common()), dict(given.most_common()), dict(suggested.most_common()), by_column)
