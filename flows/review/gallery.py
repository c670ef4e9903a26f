"""The examples that a visitor is about to see, read some questions ahead: a look at one costs a pass over the data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from flows.review.signatures import Signature, data_signature
from tasks.reviews.queue import Item
from tasks.reviews.showing import Shown, load_shown
from tasks.workspace import SplitName, Workspace


class Gallery:
    """What was read lately. It is forgotten when the data change."""

    AHEAD = 24  # questions that are read in one pass
    NEAR = 4  # a pass is due when one of so many is not read yet
    LIMIT = 1000  # examples that are kept

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._signature: Signature | None = None
        self._sought: set[str] = set()
        self._known: dict[str, Shown] = {}

    def show(self, items: Sequence[Item]) -> Mapping[str, Shown]:
        """The examples that the first of these questions speaks of, by id; those that are gone are left out.

        Args:
            items: the question, and those that follow it.

        Raises:
            UserError: the prepared data are missing or damaged.
        """
        self._seek(items, 1)
        return self._known

    def look_ahead(self, items: Sequence[Item]) -> None:
        """Read what will be asked for soon, while nobody waits. Arguments and errors are those of `show`."""
        self._seek(items, self.NEAR)

    def _seek(self, items: Sequence[Item], near: int) -> None:
        signature = data_signature(self._workspace)
        if signature != self._signature or len(self._sought) > self.LIMIT:
            self._known, self._sought, self._signature = {}, set(), signature
        if not any(_named(item) - self._sought for item in items[:near]):
            return
        wanted: dict[SplitName, set[str]] = defaultdict(set)
        for item in items[: self.AHEAD]:
            wanted[item.split].add(item.example_id)
            wanted["train"].update(_named(item) - {item.example_id})
        self._known |= load_shown(self._workspace, {split: ids - self._sought for split, ids in wanted.items()})
        self._sought.update(*wanted.values())


def _named(item: Item) -> set[str]:
    return {item.example_id, *item.evidence_for, *item.evidence_against} | ({item.other_id} if item.other_id else set())
