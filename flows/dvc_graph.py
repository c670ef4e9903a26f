"""What DVC knows of a workspace: its stages in order, and which of them are surely up to date. No server needed."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import UserError
from tasks.object_storage.failures import told
from tasks.object_storage.location import is_url
from tasks.secrets import masked

if TYPE_CHECKING:
    from dvc.repo import Repo

PIPELINE = "dvc.yaml"
BUCKETS = ("s3://", "gs://")  # remotes whose path begins with the name of a bucket


@dataclass(frozen=True)
class Stage:
    """A stage of the graph.

    Attributes:
        name: what `dvc repro` calls it.
        needs: names of the stages it depends on, directly.
        dependencies: absolute paths it depends on.
        urls: what else it depends on.
        unchanged: whether it was up to date when asked; False where that could not be said.
    """

    name: str
    needs: frozenset[str]
    dependencies: frozenset[Path]
    urls: frozenset[str] = frozenset()
    unchanged: bool = False


def read_graph(root: Path, targets: list[str] | None = None, status: bool = False) -> list[Stage]:
    """The stages of dvc.yaml and all they depend on, in an order in which they can run.

    Args:
        root: the workspace.
        targets: only these stages and those they depend on.
        status: whether to compare every stage with dvc.lock, which hashes what has changed since.

    Raises:
        UserError: this is no DVC workspace, dvc.yaml is not sound, or a target does not exist.
    """
    import networkx

    with open_repo(root) as repo:
        graph = repo.index.graph  # an edge from A to B: A needs B
        names = {node: _name(node, root) for node in graph}
        own = [node for node in graph if _is_in(node, root / PIPELINE)]
        wanted = own if not targets else [node for node in graph if names[node] in targets]
        if missing := set(targets or ()) - set(names.values()):
            listed = ", ".join(sorted(names[node] for node in own))
            raise UserError(f"dvc.yaml has no stage {sorted(missing)[0]!r}: its stages are {listed}")
        graph = graph.subgraph(set(wanted).union(*(networkx.descendants(graph, node) for node in wanted)))
        ordered = networkx.lexicographical_topological_sort(graph.reverse(copy=True), key=names.__getitem__)
        nodes = list(ordered)
        unchanged = _unchanged(repo, nodes) if status else set()
        return [
            Stage(
                names[node],
                frozenset(names[needed] for needed in graph.successors(node)),
                frozenset(Path(each.fs_path) for each in _files(node) if not is_url(each.def_path)),
                frozenset(each.def_path for each in _files(node) if is_url(each.def_path)),
                node in unchanged,
            )
            for node in nodes
        ]


def require_remote(root: Path) -> None:
    """Make sure that `dvc push` knows where to, and that a bucket there answers.

    Raises:
        UserError: the workspace has no default remote, or its bucket is not there or may not be seen.
    """
    with open_repo(root) as repo:
        name = repo.config["core"].get("remote")
        if not name:
            raise UserError("--push: no DVC remote is set: add one with `dvc remote add --default NAME FOLDER_OR_URL`")
        url = repo.config["remote"][name]["url"]
        if url.startswith(BUCKETS):
            with told(masked(f"--push: the DVC remote {name} ({url})"), "make the bucket, or correct the remote's URL"):
                remote = repo.cloud.get_remote_odb(name)
                remote.fs.fs.info(remote.path.partition("/")[0])


def mend_lock(root: Path) -> bool:
    """Remove a half-written .dvc/tmp/rwlock, which a kill at a bad moment leaves and no DVC command can read.

    Returns:
        whether there was one.
    """
    from dvc.lock import LockError, make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    with open_repo(root) as repo:
        folder = Path(repo.tmp_dir)
        path = folder / RWLOCK_FILE
        if not _is_damaged(path):
            return False
        hardlink = repo.config["core"].get("hardlink_lock", False)
        try:  # a living process may be about to fill it: it holds this lock meanwhile
            with make_lock(str(folder / RWLOCK_LOCK), tmp_dir=str(folder), hardlink_lock=hardlink):
                if damaged := _is_damaged(path):
                    path.unlink()
                return damaged
        except LockError:
            return False


def rwlock_is_damaged(root: Path) -> bool:
    """Whether there is something for `mend_lock` to do."""
    from dvc.rwlock import RWLOCK_FILE

    with open_repo(root) as repo:
        return _is_damaged(Path(repo.tmp_dir) / RWLOCK_FILE)


def _is_damaged(path: Path) -> bool:
    try:
        return not isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return False
    except ValueError:
        return True


@contextlib.contextmanager
def open_repo(root: Path) -> "Iterator[Repo]":
    """DVC's view of a workspace.

    Raises:
        UserError: this is no DVC workspace, or dvc.yaml is not sound.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    if not (root / PIPELINE).is_file():
        raise UserError(f"{root} has no dvc.yaml: run the command in a workspace, or make one with `influence init`")
    try:
        with Repo(str(root)) as repo:
            yield repo
    except NotDvcRepoError:
        raise UserError(f"{root} is not initialised for DVC: run `dvc init` there, or `influence init`") from None
    except DvcException as error:
        raise UserError(f"dvc.yaml: {' '.join(str(error).split())}") from None


def _files(node: Any) -> list[Any]:
    """What a stage depends on, but for parameters."""
    return [dependency for dependency in node.deps if hasattr(dependency, "fs_path")]


def _is_in(node: Any, file: Path) -> bool:
    return Path(node.path).resolve() == file.resolve()


def _name(node: Any, root: Path) -> str:
    """A stage's address as `dvc repro` takes it in the workspace: `train`, `data.csv.dvc`, `other/dvc.yaml:train`."""
    name: str | None = getattr(node, "name", None)
    if name and _is_in(node, root / PIPELINE):
        return name
    path = os.path.relpath(Path(node.path).resolve(), root.resolve())
    return f"{path}:{name}" if name else path


def _unchanged(repo: "Repo", nodes: list[Any]) -> set[Any]:
    """Stages that DVC finds up to date; none where it cannot say, because another process is at work, for example."""
    from dvc.exceptions import DvcException

    try:
        with repo.lock:
            return {node for node in nodes if not node.frozen and not _differs(node)}
    except DvcException:
        return set()


def _differs(node: Any) -> bool:
    """Whether the stage differs from dvc.lock, or it cannot be said, because a URL does not answer, for example."""
    from dvc.exceptions import DvcException

    try:
        return bool(node.status())
    except DvcException:
        raise
    except Exception:  # the provider's library has exceptions of its own
        if any(is_url(each.def_path) for each in _files(node)):
            return True
        raise
