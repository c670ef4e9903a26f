"""The queue while several people answer it."""

import threading
from collections import defaultdict

from flows.review.filters import Choices
from flows.review.signatures import Signature, verdicts_signature
from tasks.reviews import store
from tasks.reviews.queue import Item, build, with_verdicts
from tasks.reviews.settling import agreement
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace


class LiveQueue:
    """The questions of one run, and what everybody has said of them so far. Visitors share it.

    Attributes:
        items: the queue; a list once handed out stays as it is, and news make another.
        choices: what the questions can be filtered by.
        agreement: of the reviewers, so far.

    Raises:
        UserError: an artifact is missing or damaged.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._signature: Signature | None = None
        self._verdicts: list[Verdict] = []
        self.items = with_verdicts(build(workspace), [])
        self._places = {item.example_id: place for place, item in enumerate(self.items)}
        self.choices = Choices.of(self.items)
        self.agreement = agreement([])

    @property
    def run(self) -> str:
        """Identity of the run that asks; empty where nothing is asked."""
        return self.items[0].run if self.items else ""

    def refresh(self) -> None:
        """Read what was said since the last time.

        Raises:
            UserError: the file of the verdicts is damaged.
        """
        with self._lock:
            signature = verdicts_signature(self._workspace)
            if signature == self._signature:
                return
            new = store.read_on(self._workspace, self._verdicts)
            if new is None:  # another file
                self._verdicts = new = store.read(self._workspace)
                self.items = with_verdicts(self.items, new)
            else:
                self._verdicts = [*self._verdicts, *new]
                self.items = self._with(new)
            self.agreement = agreement(self._verdicts)
            self._signature = signature

    def _with(self, new: list[Verdict]) -> list[Item]:
        """The items with these verdicts added: those that they are about are made again, the others stay."""
        about: dict[int, list[Verdict]] = defaultdict(list)
        for verdict in new:
            if verdict.example_id in self._places:
                about[self._places[verdict.example_id]].append(verdict)
        items = list(self.items)
        for place, verdicts in about.items():
            [items[place]] = with_verdicts([items[place]], [*items[place].verdicts, *verdicts])
        return items
