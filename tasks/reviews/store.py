"""reviews/verdicts.parquet: verdicts are added to it, and none is ever changed or removed."""

import contextlib
import fcntl
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import VERDICTS, write_table
from tasks.errors import UserError
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace


def append(workspace: Workspace, verdicts: Sequence[Verdict]) -> None:
    """Add verdicts to the file, all of them or, if this process is killed, none.

    Several processes and threads may do so at once: each waits for the lock in .work/, and nothing is lost.

    Raises:
        UserError: the file is damaged.
    """
    if verdicts:
        with _locked(workspace):
            _add(workspace, verdicts)


def read(workspace: Workspace) -> list[Verdict]:
    """All verdicts, in the order in which they were given; none where there is no file.

    Raises:
        UserError: the file is damaged.
    """
    return _verdicts(_load(workspace))


def read_on(workspace: Workspace, known: Sequence[Verdict]) -> list[Verdict] | None:
    """The verdicts given since these were read, without reading all again; None where these are not its beginning.

    Only the last of those known is compared: the file grows, or another was put in its place.

    Raises:
        UserError: the file is damaged.
    """
    table = _load(workspace)
    if known and _verdicts(table.slice(len(known) - 1, 1)) != [known[-1]]:
        return None
    return _verdicts(table.slice(len(known)))


def create(workspace: Workspace) -> None:
    """Write a file without verdicts where there is none: prepare depends on it."""
    with _locked(workspace):
        if not workspace.verdicts.exists():
            _add(workspace, [])


def append_new(workspace: Workspace, verdicts: Sequence[Verdict]) -> int:
    """Add those that say something else than the last word of their reviewer on their example, and are no older.

    Returns:
        how many were added.

    Raises:
        UserError: the file is damaged.
    """
    with _locked(workspace):
        before = read(workspace)
        last = {(verdict.example_id, verdict.reviewer): verdict for verdict in before}
        new = []
        for verdict in verdicts:
            key = verdict.example_id, verdict.reviewer
            known = last.get(key)
            if known is None or (_said(verdict) != _said(known) and verdict.time >= known.time):
                last[key] = verdict
                new.append(verdict)
        if new:
            _add(workspace, new)
    return len(new)


def _add(workspace: Workspace, verdicts: Sequence[Verdict]) -> None:
    rows = [{**vars(verdict), "signals": list(verdict.signals.items())} for verdict in verdicts]
    table = pa.concat_tables([_load(workspace), pa.Table.from_pylist(rows, VERDICTS)])
    write_table(workspace.verdicts, table, VERDICTS)


def _verdicts(table: pa.Table) -> list[Verdict]:
    return [Verdict(**{**row, "signals": dict(row["signals"])}) for row in table.to_pylist()]


def _load(workspace: Workspace) -> pa.Table:
    path = workspace.verdicts
    if not path.exists():
        return VERDICTS.empty_table()
    try:
        return pq.read_table(path).select(VERDICTS.names).cast(VERDICTS)
    except (pa.ArrowException, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): restore it with `git checkout {path}`") from None


def _said(verdict: Verdict) -> tuple[object, ...]:
    """What was said, of what: the time, the run and the suggestion do not make it another verdict."""
    return (*verdict.decision, verdict.content, verdict.given_label)


@contextlib.contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    path = workspace.work / "verdicts.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
