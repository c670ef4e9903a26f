"""What can be found wrong with a workspace before any work is spent on it."""

import importlib.util
import os
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from flows.dvc_graph import Stage, read_graph
from flows.mending import mend
from tasks.errors import UserError
from tasks.parameters import IdxSource, Parameters, load_parameters
from tasks.stage import check_version
from tasks.workspace import Workspace

MODEL_STAGES = ("train", "precondition", "score", "validate", "flag")  # those that build the model


def check(root: Path, targets: list[str] | None = None) -> None:
    """Check the workspace's files. Those of DVC's that a kill has halved are mended first.

    Raises:
        UserError: dvc.yaml or params.yaml is missing or wrong, a target does not exist, another version of this
            package is asked for, a stage reads a file that DVC would not see change, or the verdicts are gone.
    """
    for line in mend(root):
        print(line, flush=True)
    stages = read_graph(root, targets)
    parameters = load_parameters(Workspace(root).parameters)
    check_version(parameters)
    require_dependencies(root, parameters, stages)
    require_verdicts(root, stages)


def require_dependencies(root: Path, parameters: Parameters, stages: Iterable[Stage]) -> None:
    """Make sure that dvc.yaml names every file of the user's that params.yaml makes a stage read.

    Raises:
        UserError: one is missing, so that results made with an older content of it would pass for new.
    """
    depends_on = {stage.name: stage.dependencies for stage in stages}
    for path, key, readers in files_read(root, parameters):
        blind = [name for name in readers if name in depends_on and not _covered(path, depends_on[name])]
        if blind:
            shown = os.path.relpath(path, root)
            raise UserError(
                f"dvc.yaml: `{key}` makes {_listed(blind)} read {shown}, and a change of it would go unnoticed: "
                f"add `- {shown}` to the deps of {_listed(blind)}"
            )


def require_verdicts(root: Path, stages: Iterable[Stage]) -> None:
    """Make sure that the file of verdicts is there where a stage depends on it; it is never made anew unasked.

    Raises:
        UserError: it is gone, and with it what people have judged.
    """
    path = Workspace(root).verdicts
    if not path.exists() and any(_covered(path, stage.dependencies) for stage in stages):
        raise UserError(
            f"{path} is missing, and with it every verdict: restore it with `git checkout {path}`, or begin without "
            "any with `influence verdicts begin`"
        )


def files_read(root: Path, parameters: Parameters) -> list[tuple[Path, str, tuple[str, ...]]]:
    """The user's own files that params.yaml names, each with the key that names it and the stages that read it."""
    found: list[tuple[Path | None, str, tuple[str, ...]]] = []
    prepare, train = parameters.prepare, parameters.train
    for key, data in (("prepare.path", prepare.path), ("prepare.test_path", prepare.test_path)):
        if data is not None:
            found += [(path, key, ("prepare",)) for path in _data_files(root / data, prepare.source)]
    if prepare.source.kind == "function":
        module = prepare.source.function.partition(":")[0]
        found.append((own_module(root, module), "prepare.source.function", ("prepare",)))
    if ":" in train.factory:
        found.append((own_module(root, train.factory.partition(":")[0]), "train.factory", MODEL_STAGES))
    if train.checkpoint is not None:
        found.append((root / train.checkpoint, "train.checkpoint", ("train",)))
    return [(path, key, stages) for path, key, stages in found if path is not None]


def own_module(root: Path, module: str) -> Path | None:
    """The file of a module if it lies in the workspace, found without running any code of it; else None."""
    names = module.split(".")
    spec: ModuleSpec | None = None
    for depth, name in enumerate(names):
        if depth == 0:
            spec = _installed(name) or PathFinder.find_spec(name, [str(root.resolve()), *_python_path()])
        else:
            folders = spec.submodule_search_locations if spec else None
            spec = PathFinder.find_spec(".".join(names[: depth + 1]), list(folders)) if folders else None
    if spec is None or spec.origin is None:
        return None  # the stage that imports it says so
    file = Path(spec.origin).resolve()
    return file if file.is_relative_to(root.resolve()) else None


def _installed(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _python_path() -> list[str]:
    return list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))


def _data_files(path: Path, source: object) -> list[Path]:
    if isinstance(source, IdxSource) and path.is_file():
        from tasks.sources.idx import labels_path

        return [path, labels_path(path)]
    return [path]


def _covered(path: Path, dependencies: frozenset[Path]) -> bool:
    """Whether the path, or a folder that holds it, is among the dependencies."""
    resolved = path.resolve()
    return any(resolved.is_relative_to(dependency.resolve()) for dependency in dependencies)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
