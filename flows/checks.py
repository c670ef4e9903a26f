"""What can be found wrong with a workspace before any work is spent on it."""

import importlib.util
import os
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from flows.dvc_graph import Stage, read_graph
from flows.mending import mend
from tasks.errors import UserError
from tasks.object_storage.location import folder, is_url, last_name
from tasks.object_storage.mirror import find, require_there
from tasks.parameters import IdxSource, Parameters, load_parameters
from tasks.sources.idx import label_names, labels_path
from tasks.stage import check_version
from tasks.workspace import Workspace

MODEL_STAGES = ("train", "precondition", "score", "validate", "flag")  # those that build the model


def check(root: Path, targets: list[str] | None = None) -> None:
    """Check the workspace's files. Those of DVC's that a kill has halved are mended first.

    Raises:
        UserError: dvc.yaml or params.yaml is missing or wrong, a target does not exist, another version of this
            package is asked for, data at a URL cannot be read, a stage reads a file that DVC would not see change,
            the verdicts are gone, or Dask's scheduler does not answer.
    """
    for line in mend(root):
        print(line, flush=True)
    parameters = load_parameters(Workspace(root).parameters)
    require_urls(parameters)  # first: DVC would repeat a password in one
    stages = read_graph(root, targets)
    check_version(parameters)
    require_dependencies(root, parameters, stages)
    require_verdicts(root, stages)
    if parameters.runner != "loop":
        from tasks.cluster import require_cluster  # brings torch with it

        require_cluster(parameters)


def require_dependencies(root: Path, parameters: Parameters, stages: Iterable[Stage]) -> None:
    """Make sure that dvc.yaml names every file of the user's that params.yaml makes a stage read.

    Raises:
        UserError: one is missing, so that results made with an older content of it would pass for new.
    """
    named = {stage.name: stage for stage in stages}
    for path, key, readers in files_read(root, parameters):
        blind = [name for name in readers if name in named and not _depends_on(named[name], path)]
        if blind:
            shown = os.path.relpath(path, root) if isinstance(path, Path) else path
            raise UserError(
                f"dvc.yaml: `{key}` makes {_listed(blind)} read {shown}, and a change of it would go unnoticed: "
                f"add `- {shown}` to the deps of {_listed(blind)}"
            )


def require_urls(parameters: Parameters) -> None:
    """Make sure that data at a URL are there, and may be read.

    Raises:
        UserError: they are not.
    """
    for _, data in _data(parameters):
        if is_url(data):
            require_there(data)


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


def files_read(root: Path, parameters: Parameters) -> list[tuple[Path | str, str, tuple[str, ...]]]:
    """The user's own files that params.yaml names, each with the key that names it and the stages that read it.

    What lies at a URL is given by it.
    """
    found: list[tuple[Path | str | None, str, tuple[str, ...]]] = []
    prepare, train = parameters.prepare, parameters.train
    for key, data in _data(parameters):
        files = _objects(data) if is_url(data) else _data_files(root / data, prepare.source)
        found += [(path, key, ("prepare",)) for path in files]
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
        return [path, labels_path(path)]
    return [path]


def _data(parameters: Parameters) -> list[tuple[str, str]]:
    """The keys that name data, with what they say."""
    prepare = parameters.prepare
    named = (("prepare.path", prepare.path), ("prepare.test_path", prepare.test_path))
    return [(key, data) for key, data in named if data is not None]


def _objects(url: str) -> list[str]:
    """What is read at a URL: IDX images bring their labels along."""
    names = label_names(last_name(url))
    return [url, *(f"{folder(url)}/{each.name}" for each in find(url, names)[1][1:])] if names else [url]


def _depends_on(stage: Stage, path: Path | str) -> bool:
    if isinstance(path, Path):
        return _covered(path, stage.dependencies)
    return any(path == url or path.startswith(url.rstrip("/") + "/") for url in stage.urls)


def _covered(path: Path, dependencies: frozenset[Path]) -> bool:
    """Whether the path, or a folder that holds it, is among the dependencies."""
    resolved = path.resolve()
    return any(resolved.is_relative_to(dependency.resolve()) for dependency in dependencies)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
