"""What verdicts change in the prepared data, and a record of what was done with each."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import UserError
from tasks.reviews.content import contents
from tasks.reviews.settling import Settled, settle
from tasks.reviews.verdict import Verdict
from tasks.workspace import SplitName

APPLIED = "applied"
GONE = "example gone"
CONTENT_CHANGED = "content changed"
LABEL_CHANGED = "label changed at the source"
UNKNOWN_LABEL = "unknown new label"
CONTESTED = "contested"
PAST = {"relabel": "relabelled", "drop": "dropped", "keep": "kept"}

Tables = dict[SplitName, pa.Table]  # in the schema of data/prepared/*.parquet
Outcome = dict[str, Any]  # a row of APPLIED


@dataclass(frozen=True)
class _Place:
    """Where a judged example stands, and the ground that a verdict on it must have."""

    split: SplitName
    row: int
    content: str
    given_label: str


def apply(tables: Tables, verdicts: Sequence[Verdict], classes: Sequence[str]) -> tuple[Tables, list[Outcome]]:
    """Let every settled verdict whose ground still holds change the data.

    A relabel changes `label` and leaves `given_label`; a drop takes the row out; a keep changes nothing. The ground is
    the example's content and its given label.

    Args:
        tables: every split, before any verdict.
        verdicts: in the order in which they were given.
        classes: the labels there may be.

    Returns:
        the tables, and what was done for each example that somebody decided, in the order of their first verdicts.

    Raises:
        UserError: the verdicts leave a class without a training example.
    """
    about: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        about[verdict.example_id].append(verdict)
    places = _places(tables, about)
    labels = {split: table["label"].to_pylist() for split, table in tables.items()}
    dropped: dict[SplitName, set[int]] = defaultdict(set)
    outcomes = []
    for example_id, own in about.items():
        place = places.get(example_id)
        settled, outcome = _judge(example_id, own, place, classes)
        if settled is None:
            continue
        outcomes.append(_outcome(example_id, place, settled, outcome))
        if outcome == APPLIED and place is not None and settled.verdict is not None:
            if settled.verdict.verdict == "relabel":
                labels[place.split][place.row] = settled.verdict.new_label
            elif settled.verdict.verdict == "drop":
                dropped[place.split].add(place.row)
    changed = {split: _changed(table, labels[split], dropped[split]) for split, table in tables.items()}
    _require_classes(tables, changed)
    return changed, outcomes


def describe(outcomes: Sequence[Outcome]) -> str:
    """In words, for the line that prepare prints; empty where nobody decided anything."""
    if not outcomes:
        return ""
    applied = Counter(row["verdict"] for row in outcomes if row["outcome"] == APPLIED)
    others = Counter(row["outcome"] for row in outcomes if row["outcome"] != APPLIED)
    done = [f"{applied[verdict]:,} {word}" for verdict, word in PAST.items()]
    not_done = [f"{count:,} not applied ({outcome})" for outcome, count in sorted(others.items())]
    return f"verdicts applied: {', '.join([*done, *not_done])}"


def _places(tables: Tables, wanted: Mapping[str, object]) -> dict[str, _Place]:
    ids = pa.array(sorted(wanted), pa.string())
    found = {}
    for split, table in tables.items():
        chosen = pc.is_in(table["example_id"], ids)
        rows = pc.indices_nonzero(chosen).to_pylist()
        judged = table.filter(chosen)
        columns = (judged["example_id"].to_pylist(), rows, contents(judged), judged["given_label"].to_pylist())
        for example_id, row, content, given_label in zip(*columns, strict=True):
            found[example_id] = _Place(split, row, content, given_label)
    return found


def _judge(
    example_id: str, verdicts: list[Verdict], place: _Place | None, classes: Sequence[str]
) -> tuple[Settled | None, str]:
    """What counts of the verdicts on one example, None where nobody decided, and what is to be done."""
    if place is None:
        return _decided(settle(verdicts).get(example_id)), GONE
    holding = [
        verdict for verdict in verdicts if (verdict.content, verdict.given_label) == (place.content, place.given_label)
    ]
    if not holding:
        same_content = any(verdict.content == place.content for verdict in verdicts)
        return _decided(settle(verdicts).get(example_id)), LABEL_CHANGED if same_content else CONTENT_CHANGED
    settled = _decided(settle(holding).get(example_id))
    if settled is None or settled.verdict is None:
        return settled, CONTESTED
    if settled.verdict.new_label is not None and settled.verdict.new_label not in classes:
        return settled, UNKNOWN_LABEL
    return settled, APPLIED


def _decided(settled: Settled | None) -> Settled | None:
    return None if settled is None or settled.state == "unsure" else settled


def _outcome(example_id: str, place: _Place | None, settled: Settled, outcome: str) -> Outcome:
    return {
        "example_id": example_id,
        "split": place.split if place else None,
        "given_label": settled.counted[-1].given_label,
        "verdict": settled.verdict.verdict if settled.verdict else None,
        "new_label": settled.verdict.new_label if settled.verdict else None,
        "reviewers": [verdict.reviewer for verdict in settled.counted if verdict.verdict != "unsure"],
        "outcome": outcome,
    }


def _changed(table: pa.Table, labels: list[str], dropped: set[int]) -> pa.Table:
    table = table.set_column(table.schema.get_field_index("label"), "label", pa.array(labels, pa.string()))
    return table.filter(pa.array([row not in dropped for row in range(len(labels))])) if dropped else table


def _require_classes(before: Tables, after: Tables) -> None:
    lost = set(before["train"]["label"].to_pylist()) - set(after["train"]["label"].to_pylist())
    if lost:
        raise UserError(
            f"the verdicts leave no training example of class {min(lost)!r}: "
            "withdraw some, or take the class out of `prepare.classes`"
        )
