"""One reviewer at the queue: where they are, what they said, and how to take it back. Knows nothing of the page."""

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median

from flows.review.filters import Filters, own_verdict
from tasks.reviews import store
from tasks.reviews.queue import Item, verdict_on
from tasks.reviews.verdict import Answer, Verdict
from tasks.workspace import Workspace


@dataclass(frozen=True)
class Given:
    """A verdict of this session, and the one of the same reviewer that it took the place of."""

    verdict: Verdict
    before: Verdict | None


@dataclass
class Desk:
    """A session of one reviewer.

    Attributes:
        workspace: whose queue it is.
        reviewer: who says it.
        clock: seconds, for the pace.
        filters: what they want to see.
        items: the whole queue, as last read.
        given: what they said in this session and did not take back, the oldest first.
        seconds: between seeing an example and judging it, for every verdict of this session.
        step: another number after everything that the reviewer does, and for every example shown.
    """

    workspace: Workspace
    reviewer: str
    clock: Callable[[], float] = time.monotonic
    filters: Filters = field(default_factory=Filters)
    items: list[Item] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    step: int = 0
    _current: str | None = None  # example_id
    _place: int = 0  # of it in the queue: where to go on if it is gone
    _asked: str | None = None  # by name, shown whatever the filters say
    _since: float = 0.0
    _places: dict[str, int] = field(default_factory=dict)
    _shown: list[int] = field(default_factory=list)  # places of the items that pass the filters

    def read(self, items: list[Item]) -> None:
        """Take the queue as it is now, with what everybody has said; where one stands is kept."""
        if items is not self.items:
            self.items = items
            self._places = {item.example_id: place for place, item in enumerate(items)}
        asked = self._places.get(self._asked or "")
        self._shown = [
            place for place, item in enumerate(items) if place == asked or self.filters.match(item, self.reviewer)
        ]
        self._stand(self._places.get(self._current or "", self._place))

    @property
    def current(self) -> Item | None:
        """The example to be judged; None where the filters leave none."""
        return self.items[self._place] if self._shown else None

    @property
    def position(self) -> int:
        """Of the current example among those that pass the filters, from 0."""
        return bisect_left(self._shown, self._place)

    @property
    def shown(self) -> int:
        """How many pass the filters."""
        return len(self._shown)

    def ahead(self, count: int) -> list[Item]:
        """The current example and those after it."""
        return [self.items[place] for place in self._shown[self.position : self.position + count]]

    @property
    def pace(self) -> float | None:
        """Median seconds an example in this session: a break for coffee does not count."""
        return median(self.seconds) if self.seconds else None

    def filter(self, filters: Filters) -> None:
        """Show other questions, from the first that is at or after the current one."""
        if filters != self.filters:
            self.filters = filters
            self._asked = None
            self.read(self.items)

    def move(self, steps: int) -> None:
        """Go on or back without a verdict; the last is followed by the first."""
        self.step += 1
        if self._shown:
            self._asked = None
            self._stand(self._shown[(self.position + steps) % len(self._shown)])

    def judge(self, item: Item, answer: Answer, new_label: str | None = None) -> None:
        """Write a verdict on what was shown, and go on to the next example.

        Raises:
            UserError: a relabel without a label, or the file of the verdicts is damaged.
        """
        verdict = verdict_on(item, answer, self.reviewer, new_label)
        store.append(self.workspace, [verdict])
        self.given.append(Given(verdict, own_verdict(item, self.reviewer)))
        self.seconds.append(self.clock() - self._since)
        self.move(1)

    def undo(self) -> None:
        """Take the last verdict of this session back, and show its example again. Nothing in the file is changed."""
        if not self.given:
            return
        last, now = self.given[-1], datetime.now(UTC)
        rows = [replace(last.verdict, verdict="withdrawn", new_label=None, time=now)]
        if last.before is not None:
            rows.append(replace(last.before, time=now))
        store.append(self.workspace, rows)
        self.given.pop()
        self.seconds.pop()
        self._current = self._asked = last.verdict.example_id
        self._since = self.clock()
        self.step += 1

    def restart(self) -> None:
        """Go to the first question, as when a new run has asked others."""
        self._current = self._asked = None
        self._place = 0

    def _stand(self, place: int) -> None:
        """Stand at the first shown place from this one on."""
        if not self._shown:
            return
        at = bisect_left(self._shown, place)
        self._place = self._shown[at % len(self._shown)]
        if self._current != self.items[self._place].example_id:
            self._current = self.items[self._place].example_id
            self._since = self.clock()
            self.step += 1
