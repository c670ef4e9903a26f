"""`influence provenance`: what made a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Heavy modules are imported by the command that needs them, so that --help is there at once.
from tasks.errors import UserError

if TYPE_CHECKING:
    from flows.dvc_record import Record
    from tasks.provenance import Input, Origin
    from tasks.revision import Revision

NOW = {"same": "the same", "changed": "CHANGED since", "missing": "MISSING", "unknown": "not looked at"}


def provenance(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that a stage or a command wrote.")],
) -> None:
    """Say what made a file: stage, parameters, inputs and whether they are still the same, versions, commit.

    \b
    influence provenance scores/top.parquet
    influence provenance model/metrics.json
    """
    from flows.dvc_record import read_record
    from tasks.provenance import read_origin
    from tasks.revision import recorded_by

    root = Path.cwd()
    origin, record = read_origin(root, file), read_record(root, file)
    if origin is None and record is None:
        raise UserError(
            f"{file}: no stage of dvc.yaml is known to have written it, and it does not say itself what made it; "
            "if a stage writes it, run that with `influence run`"
        )
    revision = recorded_by(record.lock, record.output.content) if record else None
    print_provenance(file, origin, record, revision, Console(highlight=False))


def print_provenance(
    file: Path, origin: "Origin | None", record: "Record | None", revision: "Revision | None", console: Console
) -> None:
    """What the file says itself, where it does, and what dvc.lock says of it."""
    console.print(Text(str(file), style="bold"))
    known = origin or (record.origin if record else None)
    if known is None:
        return
    facts = {"Written by": f"{known.stage}" + (f" ({record.command})" if record else "")}
    if record is not None:
        facts |= _facts(file, record, revision)
    if origin is not None:
        facts["Versions"] = ", ".join(f"{name} {version}" for name, version in origin.versions.items())
    elif record is not None:
        facts["Versions"] = "not recorded in this file: those of the Parquet files of the same stage, or of the commit"
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(name, Text(value))
    console.print(grid)
    if origin is not None:
        console.print(_inputs(origin.inputs, "Inputs, by the file itself (sha256)"))
    if record is not None:
        console.print(_inputs(record.origin.inputs, "Inputs, by dvc.lock (md5)"))
    console.print(_parameters(known.parameters, record.changed if record else []))


def _facts(file: Path, record: "Record", revision: "Revision | None") -> dict[str, str]:
    states = {
        "same": f"holds what dvc.lock records of {record.output.path} ({record.output.content})",
        "changed": f"is NOT what dvc.lock records of {record.output.path}: it was changed after the run, or by another",
        "missing": f"is missing: {record.output.path} was removed since",
        "unknown": f"could not be compared with what dvc.lock records of {record.output.path}",
    }
    commit = (
        f"{revision.commit} of {revision.day}: {revision.subject}"
        if revision
        else "none yet: dvc.lock has not been committed since this was made"
    )
    return {"This file": states[record.output.now], "Commit": commit}


def _inputs(inputs: "list[Input]", title: str) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for name in ("Input", "Content then", "Now"):
        table.add_column(name, overflow="fold")
    for each in inputs:
        table.add_row(Text(each.path), each.content[:16], NOW[each.now])
    return table


def _parameters(parameters: dict[str, Any], changed: list[str]) -> Table:
    """Every parameter by its path, and whether params.yaml says something else now."""
    table = Table(title="Parameters", title_justify="left")
    for name in ("Parameter", "Value"):
        table.add_column(name, overflow="fold")
    for key, value in _flat(parameters):
        other = any(key == name or key.startswith(f"{name}.") for name in changed)
        table.add_row(Text(key), Text(f"{value!r}" + (" (changed since)" if other else "")))
    return table


def _flat(parameters: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in parameters.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
