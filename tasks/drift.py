"""Drift: a class, a slice or the accuracy that is no longer what it was over the last runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tasks.changes import AccuracyChange
from tasks.history import Group, Run
from tasks.intervals import change_interval
from tasks.parameters import Drift

CHANCE = 0.05  # that anything is called a drift where nothing has changed


@dataclass(frozen=True)
class Alert:
    """Something that changed by more than `report.drift` allows.

    Attributes:
        kind: class, slice or accuracy.
        group: the class, the slice as `column = value`, or the split.
        before: of a group the mean share of labels that came wrong over the last runs; the accuracy of the run before.
        now: of the last run.
        low: of the interval of the change.
        high: likewise.
    """

    kind: str
    group: str
    before: float
    now: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """What changed, in one sentence."""
        direction = "rose" if self.now > self.before else "fell"
        size = (
            f"{direction} from {100 * self.before:.1f} % to {100 * self.now:.1f} %, "
            f"by {100 * self.low:+.1f} to {100 * self.high:+.1f} points if chance is allowed for"
        )
        if self.kind == "accuracy":
            return f"The test accuracy {size}."
        return f"The share of labels that came wrong, found or expected, {size}, in the {self.kind} {self.group}."


def alerts(current: Run, earlier: Sequence[Run], accuracy: AccuracyChange | None, limits: Drift) -> list[Alert]:
    """What drifted, the largest change first; the accuracy before all.

    The rate of a group is the share of its labels that came wrong (`tasks.history.Group.rate`). It is compared with its
    mean over the last runs, by an interval that is as wide as if each of the two were measured once, on other examples:
    too wide where runs share their examples, as they mostly do. All groups together have a chance of 5 % of a false
    alarm.

    Args:
        current: the last run.
        earlier: those before it, the oldest first.
        accuracy: the change since the run before.
        limits: `report.drift`.
    """
    found: list[Alert] = []
    if (
        limits.accuracy is not None
        and accuracy is not None
        and accuracy.high < 0
        and -accuracy.change > limits.accuracy
    ):
        found.append(Alert("accuracy", "test", accuracy.before, accuracy.after, accuracy.low, accuracy.high))
    if limits.rate is None:
        return found
    past = [{group.key: group for group in run.groups} for run in earlier[-limits.runs :]]
    followed = [group for group in current.groups if any(group.key in groups for groups in past)]
    drifted = []
    for group in followed:
        before = [groups[group.key] for groups in past if group.key in groups]
        alert = _drifted(group, before, limits.rate, 1 - CHANCE / len(followed))
        drifted += [alert] if alert else []
    return found + sorted(drifted, key=lambda alert: -abs(alert.now - alert.before))


def _drifted(group: Group, before: Sequence[Group], limit: float, confidence: float) -> Alert | None:
    mean = fmean(past.rate for past in before)
    size = round(fmean(past.examples for past in before))
    low, high = change_interval(mean * size, size, group.rate * group.examples, group.examples, confidence)
    if abs(group.rate - mean) <= limit or low <= 0 <= high:
        return None
    return Alert("class" if group.column is None else "slice", group.name, mean, group.rate, low, high)
