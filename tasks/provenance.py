"""What an artifact says of its own making: the record that `tasks.artifacts.provenance` put into its metadata."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from tasks.artifacts import PROVENANCE, content_hash, provenance, write_text
from tasks.errors import UserError
from tasks.object_storage.location import is_url
from tasks.tensors import read_metadata
from tasks.workspace import SPLITS, Workspace

COMMENT = re.compile(rf"<!-- {PROVENANCE.decode()} (.*) -->\n$")

State = Literal["same", "changed", "missing", "unknown"]


@dataclass(frozen=True)
class Input:
    """Something an artifact was made from.

    Attributes:
        path: from the workspace, or absolute, or a URL.
        content: hash of the content that was read.
        now: whether the path holds that content still; unknown where it lies at a URL that is not asked.
    """

    path: str
    content: str
    now: State


@dataclass(frozen=True)
class Origin:
    """What made an artifact.

    Attributes:
        stage: the stage, or the command, that wrote it.
        parameters: those that it read.
        inputs: what it read.
        versions: of the packages that matter to the content; empty where nobody wrote them down.
    """

    stage: str
    parameters: dict[str, Any]
    inputs: list[Input]
    versions: dict[str, str]


@dataclass(frozen=True)
class _Stored:
    """The record as it lies in the metadata."""

    stage: str
    parameters: dict[str, Any]
    inputs: dict[str, str]
    versions: dict[str, str]


def write_page(
    path: Path, page: str, command: str, settings: dict[str, Any], root: Path, workspaces: Iterable[Workspace]
) -> None:
    """Write a page that a command makes; a comment at its end holds the record.

    Args:
        path: the file.
        page: the page, HTML.
        command: who writes it.
        settings: what the command was asked.
        root: the workspace that the page lies in.
        workspaces: those that it was made from.
    """
    inputs = [Path(os.path.relpath(file, root)) for each in workspaces for file in _model_files(each)]
    record = json.dumps(provenance(command, settings, inputs, root)[PROVENANCE], sort_keys=True)
    harmless = re.sub(r"[<>&-]", lambda match: f"\\u{ord(match[0]):04x}", record)  # nothing in it ends the comment
    write_text(path, f"{page.rstrip()}\n<!-- {PROVENANCE.decode()} {harmless} -->\n")


def _model_files(workspace: Workspace) -> list[Path]:
    files = [*(workspace.split(name) for name in SPLITS), workspace.weights, workspace.predictions, workspace.factors]
    return [file for file in files if file.exists()]


def read_origin(root: Path, path: Path) -> Origin | None:
    """What a Parquet or safetensors file or a page says of its own making; None where it says nothing.

    Args:
        root: the workspace, from which the paths of the inputs count.
        path: the file.

    Raises:
        UserError: the file is missing, damaged, or its record is not one that this package wrote.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there: give the path of a file that the pipeline wrote")
    record = _record(path)
    if record is None:
        return None
    try:
        stored = TypeAdapter(_Stored).validate_python(record)
    except ValidationError:
        raise UserError(f"{path} holds a record of its making that this version cannot read: rerun its stage") from None
    inputs = [
        Input(name, content, "unknown" if is_url(name) else _now(root / name, content))
        for name, content in stored.inputs.items()
    ]
    return Origin(stored.stage, stored.parameters, inputs, stored.versions)


def _record(path: Path) -> object:
    try:
        match path.suffix:
            case ".parquet":
                stored = (pq.read_schema(path).metadata or {}).get(PROVENANCE)
                return None if stored is None else json.loads(stored)
            case ".safetensors":
                return read_metadata(path).get(PROVENANCE.decode())
            case ".html":
                found = COMMENT.search(path.read_text(encoding="utf-8", errors="replace"))
                return None if found is None else json.loads(found[1])
            case _:
                return None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it with `dvc checkout`, or make it anew") from None


def _now(path: Path, content: str) -> State:
    if not path.exists():
        return "missing"
    return "same" if content_hash(path) == content else "changed"
