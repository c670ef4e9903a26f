"""What is asked of a reviewer: every flag and every finding about one example, and how far each is answered."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.artifacts import SIGNAL_NAMES, read_table
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.content import contents
from tasks.reviews.ranking import shares_below
from tasks.reviews.settling import considered, settle
from tasks.reviews.verdict import Answer, Kind, Verdict
from tasks.run_identity import run_identity
from tasks.workspace import SPLITS, SplitName, Workspace

State = Literal["open", "settled", "contested", "unsure"]
ABOUT_ONE: tuple[Kind, ...] = ("conflict", "outlier", "leak")  # findings about one example, in the order asked
SLICE = "slice_"
NOT_FLAGGED = "not flagged in this run"


@dataclass(frozen=True)
class Item:
    """One question to a reviewer.

    Attributes:
        example_id: whom it is about.
        split: where the example stands.
        kind: label (its label is suspect), conflict, outlier, leak.
        given_label: what the data said, before any verdict. Verdicts speak of this one.
        label: what the model learned: the given label, or that of a verdict which was applied.
        suggested_label: what should stand instead.
        suggested_probability: of it.
        error_probability: that `label` is wrong.
        rank: among the flags, 1 the most suspect; None where it is not flagged.
        reason: in words.
        evidence_for: ids of training examples that speak for the label.
        evidence_against: ids of those that speak against it.
        other_id: the training example that a leak or conflict repeats.
        slices: the example's own, by column.
        signals: the values, by name, of those that were computed.
        signal_ranks: the share of the training set that each finds less suspect.
        content: hash of the input.
        run: identity of the run that asks.
        state: open; settled; contested (reviewers disagree); unsure (somebody looked, nobody decided: it stays
            open to the others).
        verdicts: all on this example, the oldest first, also those whose ground is gone.
    """

    example_id: str
    split: SplitName
    kind: Kind
    given_label: str
    label: str
    suggested_label: str | None
    suggested_probability: float | None
    error_probability: float | None
    rank: int | None
    reason: str
    evidence_for: list[str]
    evidence_against: list[str]
    other_id: str | None
    slices: dict[str, str]
    signals: dict[str, float]
    signal_ranks: dict[str, float]
    content: str
    run: str
    state: State
    verdicts: list[Verdict]

    @property
    def asked(self) -> bool:
        """Whether the run asks this, or only the caller of `build`."""
        return self.kind != "label" or self.rank is not None


def build(workspace: Workspace, others: Collection[str] = ()) -> list[Item]:
    """The whole queue of the last run: flags by rank, then what else was found of one example; each example once.

    Args:
        workspace: after a run.
        others: ids of examples that follow though nothing is asked of them, where they are in the data.

    Raises:
        UserError: there are no flags yet, or the verdicts are damaged.
    """
    if not workspace.flags.exists():
        raise UserError(f"{workspace.flags} is missing: there is nothing to review before `influence run`")
    questions = _questions(workspace)
    for example_id in sorted(set(others) - questions.keys()):
        questions[example_id] = {"kind": "label", "reason": NOT_FLAGGED}
    examples = _examples(workspace, questions.keys())
    signals = _signals(workspace, questions.keys())
    run = run_identity(workspace)
    items = [
        _item(example_id, question, examples[example_id], signals.get(example_id), run)
        for example_id, question in questions.items()
        if example_id in examples
    ]
    return with_verdicts(items, store.read(workspace))


def with_verdicts(items: Iterable[Item], verdicts: Iterable[Verdict]) -> list[Item]:
    """The same questions with these verdicts: for whoever holds a queue while others answer it."""
    about: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        about[verdict.example_id].append(verdict)
    return [
        replace(item, state=_state(item, about[item.example_id]), verdicts=about[item.example_id]) for item in items
    ]


def open_to(item: Item, reviewer: str) -> bool:
    """Whether to ask this reviewer: nobody has decided, and they have not passed on it."""
    if item.state != "unsure":
        return item.state == "open"
    counted = settle(verdict for verdict in item.verdicts if ground_holds(item, verdict))[item.example_id].counted
    return all(verdict.reviewer != reviewer for verdict in counted)


def ground_holds(item: Item, verdict: Verdict) -> bool:
    """Whether the verdict speaks of the example as it stands, whatever was suggested then."""
    return (verdict.content, verdict.given_label) == (item.content, item.given_label)


def verdict_on(
    item: Item, verdict: Answer, reviewer: str, new_label: str | None = None, now: datetime | None = None
) -> Verdict:
    """A verdict on what the item shows.

    Args:
        item: what was shown.
        verdict: what the reviewer said; a relabel to the given label is written as keep.
        reviewer: who they are.
        new_label: of a relabel; None: the suggested one.
        now: the time, in UTC; None: that of the clock.

    Raises:
        UserError: a relabel without a label, another verdict with one, or no reviewer.
    """
    if verdict == "relabel":
        new_label = new_label or item.suggested_label
        if new_label == item.given_label:
            verdict, new_label = "keep", None
    return Verdict(
        example_id=item.example_id,
        verdict=verdict,
        new_label=new_label,
        reviewer=reviewer,
        time=now or datetime.now(UTC),
        run=item.run,
        kind=item.kind,
        content=item.content,
        given_label=item.given_label,
        suggested_label=item.suggested_label,
        error_probability=item.error_probability,
        rank=item.rank,
        reason=item.reason,
        evidence=[*item.evidence_for, *item.evidence_against],
        signals=item.signal_ranks,
        fused_log_odds=item.signals.get("fused_log_odds"),
    )


def _state(item: Item, verdicts: list[Verdict]) -> State:
    settled = settle(verdict for verdict in verdicts if ground_holds(item, verdict)).get(item.example_id)
    if settled is None:
        return "open"
    if settled.state == "settled" and not any(considered(verdict, item.suggested_label) for verdict in settled.counted):
        return "open"
    return settled.state


def _questions(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """By example, in the order asked: what is asked, in the columns of the flags or of the findings."""
    questions = {row["example_id"]: {**row, "kind": "label"} for row in read_table(workspace.flags).to_pylist()}
    findings = [row for row in read_table(workspace.findings).to_pylist() if row["example_id"] is not None]
    for kind in ABOUT_ONE:
        for row in findings:
            if row["kind"] == kind:
                questions.setdefault(row["example_id"], row)
    return questions


def _examples(workspace: Workspace, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
    """Split, labels, slices and content hash of the wanted examples."""
    found: dict[str, dict[str, Any]] = {}
    ids = pa.array(sorted(wanted), pa.string())
    for split in SPLITS:
        table = read_table(workspace.split(split))
        table = table.filter(pc.is_in(table["example_id"], ids))
        known = table.drop_columns(["input", "display"]).to_pylist()
        for row, content in zip(known, contents(table), strict=True):
            found[row["example_id"]] = {**row, "split": split, "content": content}
    return found


def _signals(workspace: Workspace, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
    """What the flag stage says of the wanted training examples, flagged or not, with `ranks` of their signals."""
    table = read_table(workspace.signals)
    there = [name for name in SIGNAL_NAMES if name in table.column_names]  # an older version wrote fewer
    computed = {name: table[name].to_numpy() for name in there if not table[name].null_count}
    ranks = {name: shares_below(values).astype(np.float32) for name, values in computed.items()}
    places = pc.indices_nonzero(pc.is_in(table["example_id"], pa.array(sorted(wanted), pa.string())))
    return {
        row["example_id"]: {**row, "ranks": {name: float(share[place]) for name, share in ranks.items()}}
        for place, row in zip(places.to_pylist(), table.take(places).to_pylist(), strict=True)
    }


def _item(
    example_id: str, question: dict[str, Any], example: dict[str, Any], signals: dict[str, Any] | None, run: str
) -> Item:
    kind, known = question["kind"], signals or {}
    suggests = kind in ("label", "conflict")  # for what is far from everything, or repeated, no other label is meant
    return Item(
        example_id=example_id,
        split=example["split"],
        kind=kind,
        given_label=example["given_label"],
        label=example["label"],
        suggested_label=known.get("suggested_label") if suggests else None,
        suggested_probability=known.get("suggested_probability") if suggests else None,
        error_probability=known.get("error_probability"),
        rank=question.get("rank"),
        reason=question["reason"] if kind == "label" else question["finding"],
        evidence_for=question.get("evidence_for") or [],
        evidence_against=question.get("evidence_against") or [],
        other_id=question.get("other_id"),
        slices={name.removeprefix(SLICE): value for name, value in example.items() if name.startswith(SLICE)},
        signals={name: known[name] for name in SIGNAL_NAMES if known.get(name) is not None},
        signal_ranks=known.get("ranks", {}),
        content=example["content"],
        run=run,
        state="open",
        verdicts=[],
    )
