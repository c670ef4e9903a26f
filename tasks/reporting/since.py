"""What the report says of the runs before: what changed since the last one, and how the rates went."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.artifacts import read_table
from tasks.changes import AccuracyChange, FlagChange, accuracy_change, flag_change
from tasks.drift import Alert, alerts
from tasks.history import Group, Run, read_examples, runs
from tasks.parameters import Drift
from tasks.reviews import store
from tasks.reviews.applying import APPLIED
from tasks.workspace import Workspace

RUNS_SHOWN = 8
VALUES_SHOWN = 12  # classes, and values of each slice: those that changed most


@dataclass(frozen=True)
class Trend:
    """The share of labels that came wrong in a class or a slice, found or expected.

    Attributes:
        group: as the last run has it.
        rates: of the last runs, the oldest first, this one last; None where a run does not have the group.
        alert: whether it drifted.
    """

    group: Group
    rates: list[float | None]
    alert: bool

    @property
    def change(self) -> float | None:
        """Since the mean of the runs before."""
        before = [rate for rate in self.rates[:-1] if rate is not None]
        return self.group.rate - sum(before) / len(before) if before else None


@dataclass(frozen=True)
class Since:
    """What changed.

    Attributes:
        previous: the run before; None for the first.
        shown: runs that the trends cover, this one included.
        accuracy: on the test examples that nobody judged; None where there is nothing to compare.
        flags: None for the first run.
        verdicts: number of those that prepare applied, by kind.
        set_aside: number of those it did not apply, by the reason.
        trends: by column; None is the class.
        hidden: by column, how many groups are not shown.
        alerts: what drifted.
    """

    previous: Run | None
    shown: int
    accuracy: AccuracyChange | None
    flags: FlagChange | None
    verdicts: dict[str, int]
    set_aside: dict[str, int]
    trends: dict[str | None, list[Trend]]
    hidden: dict[str | None, int]
    alerts: list[Alert]


def compare(workspace: Workspace, current: Run, limits: Drift) -> Since:
    """Compare a run with those that were recorded before.

    Args:
        workspace: that holds the run's artifacts.
        current: the run, recorded.
        limits: `report.drift`.

    Raises:
        UserError: an artifact or the record of a run is missing or damaged.
    """
    outcomes = read_table(workspace.applied_verdicts).to_pylist()
    applied = {row["example_id"]: row["verdict"] for row in outcomes if row["outcome"] == APPLIED}
    earlier = [run for run in runs(workspace) if run.identity != current.identity]
    accuracy, flags = None, None
    if earlier:
        before, after = (read_examples(workspace, run.identity) for run in (earlier[-1], current))
        touched = {verdict.example_id for verdict in store.read(workspace)}
        accuracy, flags = accuracy_change(before, after, touched), flag_change(before, after, applied)
    drifted = alerts(current, earlier, accuracy, limits)
    trends, hidden = _trends(current, earlier, {alert.group for alert in drifted})
    return Since(
        previous=earlier[-1] if earlier else None,
        shown=min(len(earlier) + 1, RUNS_SHOWN),
        accuracy=accuracy,
        flags=flags,
        verdicts=dict(Counter(applied.values())),
        set_aside=dict(Counter(row["outcome"] for row in outcomes if row["outcome"] != APPLIED)),
        trends=trends,
        hidden=hidden,
        alerts=drifted,
    )


def _trends(
    current: Run, earlier: Sequence[Run], drifted: set[str]
) -> tuple[dict[str | None, list[Trend]], dict[str | None, int]]:
    past = [{group.key: group.rate for group in run.groups} for run in earlier[-(RUNS_SHOWN - 1) :]]
    by_column: dict[str | None, list[Trend]] = {}
    for group in current.groups:
        rates = [*(groups.get(group.key) for groups in past), group.rate]
        by_column.setdefault(group.column, []).append(Trend(group, rates, group.name in drifted))
    hidden = {column: len(trends) - VALUES_SHOWN for column, trends in by_column.items() if len(trends) > VALUES_SHOWN}
    return {column: _most_changed(trends) for column, trends in by_column.items()}, hidden


def _most_changed(trends: list[Trend]) -> list[Trend]:
    """Those that drifted, then those that changed most; in the order in which they came."""
    order = sorted(range(len(trends)), key=lambda i: (not trends[i].alert, -abs(trends[i].change or 0.0), i))
    return [trends[place] for place in sorted(order[:VALUES_SHOWN])]
