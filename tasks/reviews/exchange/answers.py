"""Answers read from a file, checked to the last row before any becomes a verdict."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from tasks.artifacts import read_json
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.queue import Item, build, verdict_on
from tasks.reviews.verdict import ANSWERS, Answer, Verdict
from tasks.workspace import Workspace


@dataclass(frozen=True)
class Reply:
    """One answer as a file gives it.

    Attributes:
        where: it stands, such as `row 7`.
        example_id: whom it is about.
        verdict: one of `ANSWERS`, if it is a good one; a relabel to the given label means keep.
        new_label: of a relabel.
        reviewer: who said it; None: whoever brings the file.
        content: hash of the input that was shown, where the file says.
        given_label: the label that was shown, where the file says.
        time: when it was given, where the file says; None: when the file is brought.
    """

    where: str
    example_id: str
    verdict: str
    new_label: str | None = None
    reviewer: str | None = None
    content: str | None = None
    given_label: str | None = None
    time: datetime | None = None


def bring(workspace: Workspace, path: Path, replies: Sequence[Reply], reviewer: str | None) -> int:
    """Add the answers of a file to the verdicts, all or none; returns how many were not there already.

    Of several answers of one reviewer on one example the last counts; one that is older than what the reviewer has said
    since, as in a file that is brought again, adds nothing.

    Args:
        workspace: after a run.
        path: of the file, for messages.
        replies: in its order.
        reviewer: who gave those that name nobody.

    Raises:
        UserError: an answer cannot be a verdict, with its row; nothing was added.
    """
    before = {verdict.example_id: verdict for verdict in store.read(workspace)}
    items = {item.example_id: item for item in build(workspace, {reply.example_id for reply in replies})}
    classes, now = read_json(workspace.encoding)["classes"], datetime.now(UTC)
    verdicts: dict[tuple[str, str], Verdict] = {}
    faults = []
    for reply in replies:
        try:
            who = reply.reviewer or reviewer
            if not who:
                raise UserError("no reviewer is named: fill the column reviewer, or add --reviewer NAME")
            _check(reply, classes)
            verdict = _verdict(reply, who, items.get(reply.example_id), before.get(reply.example_id), reply.time or now)
        except UserError as error:
            faults.append(f"{path}, {reply.where}: {error}")
            continue
        verdicts[verdict.example_id, verdict.reviewer] = verdict
    if faults:
        more = f" ({len(faults) - 1:,} more rows are wrong as well)" if len(faults) > 1 else ""
        raise UserError(f"{faults[0]}{more}; nothing was added")
    return store.append_new(workspace, list(verdicts.values()))


def _check(reply: Reply, classes: Iterable[str]) -> None:
    if reply.verdict not in ANSWERS:
        raise UserError(f"unknown verdict {reply.verdict!r}: say one of {', '.join(ANSWERS)}")
    if (reply.verdict == "relabel") != bool(reply.new_label):
        found = f"new label {reply.new_label!r}" if reply.new_label else "no new label"
        raise UserError(f"{reply.verdict} with {found}: a relabel needs one, and nothing else has one")
    if reply.new_label and reply.new_label not in classes:
        raise UserError(f"unknown class {reply.new_label!r}: the classes are {', '.join(classes)}")


def _verdict(reply: Reply, reviewer: str, item: Item | None, before: Verdict | None, now: datetime) -> Verdict:
    """On the example as it stands; on one that an earlier verdict took out, with the ground of that one."""
    known = item or before
    if known is None:
        raise UserError(f"unknown id {reply.example_id!r}: no example of this workspace is called so")
    if reply.content not in (None, known.content) or reply.given_label not in (None, known.given_label):
        raise UserError(f"example {reply.example_id!r} has changed since it was exported: export it again")
    answer = cast(Answer, reply.verdict)
    if isinstance(known, Item):
        return verdict_on(known, answer, reviewer, reply.new_label, now)
    if reply.new_label == known.given_label:
        return replace(known, verdict="keep", new_label=None, reviewer=reviewer, time=now)
    return replace(known, verdict=answer, new_label=reply.new_label, reviewer=reviewer, time=now)
