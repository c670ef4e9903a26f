"""What changed between two runs that were recorded: the model's accuracy, and what is flagged."""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tasks.intervals import paired_change_interval

NO_LONGER_FLAGGED = "no longer flagged"
GONE = "gone from the training data"


@dataclass(frozen=True)
class AccuracyChange:
    """Accuracy on the same test examples, before and after.

    Attributes:
        before: share predicted right in the earlier run.
        after: and in the later one.
        low: of the 95 % interval of the change.
        high: likewise.
        examples: how many were compared.
        left_out: test examples of the later run that were not: judged by somebody, new, or with another label.
    """

    before: float
    after: float
    low: float
    high: float
    examples: int
    left_out: int

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class FlagChange:
    """What became of the flags that were open, which are those that no review has settled.

    Attributes:
        resolved: open before and not now, by what became of them.
        new: open now and not before, by id.
        persisting: open in both.
    """

    resolved: dict[str, int]
    new: frozenset[str]
    persisting: int


def accuracy_change(before: pa.Table, after: pa.Table, touched: Set[str]) -> AccuracyChange | None:
    """Compare two runs on the test examples that both have with the same label; None where there are none.

    Args:
        before: of the earlier run, in the schema HISTORY.
        after: of the later run.
        touched: ids that somebody gave a verdict on. A test set mended by its reviewers would flatter the later run.
    """
    old, new = _tested(before), _tested(after)
    pairs = [
        (old[key], right) for key, right in new.items() if key in old and key[0] not in touched
    ]  # the label is part of the key
    if not pairs:
        return None
    gained = sum(now and not then for then, now in pairs)
    lost = sum(then and not now for then, now in pairs)
    low, high = paired_change_interval(gained, lost, len(pairs))
    share = [sum(side) / len(pairs) for side in zip(*pairs, strict=True)]
    return AccuracyChange(share[0], share[1], low, high, len(pairs), len(new) - len(pairs))


def flag_change(before: pa.Table, after: pa.Table, verdicts: Mapping[str, str]) -> FlagChange:
    """Compare the open flags of two runs.

    Args:
        before: of the earlier run, in the schema HISTORY.
        after: of the later run.
        verdicts: what prepare applied before the later run, by example id.
    """
    old, new = _open(before), _open(after)
    trained = set(after.filter(pc.equal(after["split"], "train"))["example_id"].to_pylist())

    def fate(example_id: str) -> str:
        return verdicts.get(example_id) or (NO_LONGER_FLAGGED if example_id in trained else GONE)

    return FlagChange(dict(Counter(map(fate, sorted(old - new)))), frozenset(new - old), len(old & new))


def _tested(examples: pa.Table) -> dict[tuple[str, str], bool]:
    test = examples.filter(pc.equal(examples["split"], "test"))
    keys = zip(test["example_id"].to_pylist(), test["label"].to_pylist(), strict=True)
    return dict(zip(keys, test["correct"].to_pylist(), strict=True))


def _open(examples: pa.Table) -> set[str]:
    chosen = pc.and_(examples["flagged"], pc.invert(examples["judged"]))
    return set(examples.filter(chosen)["example_id"].to_pylist())
