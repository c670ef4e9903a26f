"""What dvc.lock says of the making of a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc_graph import open_repo
from tasks.object_storage.location import is_url
from tasks.provenance import Input, Origin, State

NOW: dict[str, State] = {"modified": "changed", "deleted": "missing"}  # in the words of `dvc status`


@dataclass(frozen=True)
class Record:
    """A file in dvc.lock.

    Attributes:
        origin: the stage that wrote it, with the parameters and the inputs of that run; versions are not recorded.
        command: what the stage ran.
        lock: the file dvc.lock that says so.
        output: what the stage wrote: the file itself, or the folder that holds it.
        changed: the parameters that have another value now.
    """

    origin: Origin
    command: str
    lock: Path
    output: Input
    changed: list[str]


def read_record(root: Path, path: Path) -> Record | None:
    """The record of a file; None where no stage writes it, or its stage has not run yet.

    Raises:
        UserError: this is no DVC workspace, or dvc.yaml is not sound.
    """
    wanted = path.resolve()
    with open_repo(root) as repo:
        for stage in repo.index.stages:
            for output in stage.outs:
                if output.hash_info and wanted.is_relative_to(Path(output.fs_path).resolve()):
                    return _record(root.resolve(), stage, output)
    return None


def _record(root: Path, stage: Any, output: Any) -> Record:
    from dvc.dependency.param import ParamsDependency

    parameters: dict[str, Any] = {}
    changed: list[str] = []
    inputs: list[Input] = []
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency):
            parameters |= dependency.hash_info.value or {}
            changed += [key for found in dependency.workspace_status().values() for key in found]
        elif dependency.hash_info:  # else dvc.yaml has named it since
            inputs.append(_input(root, dependency))
    origin = Origin(stage.name or stage.addressing, parameters, inputs, {})
    return Record(origin, str(stage.cmd), Path(stage.path).parent / "dvc.lock", _input(root, output), sorted(changed))


def _input(root: Path, item: Any) -> Input:
    """A dependency or an output, compared with what lies there now."""
    if is_url(item.def_path):
        return Input(item.def_path, str(item.hash_info.value), _remote_state(item))
    path = Path(item.fs_path)
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return Input(shown.as_posix(), str(item.hash_info.value), _state(item))


def _state(item: Any) -> State:
    status = next(iter(item.workspace_status().values()), None)
    return "same" if status is None else NOW.get(status, "changed")


def _remote_state(item: Any) -> State:
    try:
        return _state(item)
    except Exception:  # whatever the provider's library raises without a network or credentials
        return "unknown"
