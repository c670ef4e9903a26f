"""What a kill can do to DVC's own files, and how they are mended. DVC writes them in place: a kill can halve them."""

from pathlib import Path

from flows.dvc_graph import mend_lock, open_repo
from tasks.workspace import Workspace

LOCK_FILE = "dvc.lock"


def mend(root: Path) -> list[str]:
    """Mend what keeps DVC from reading the workspace; what was done, in sentences."""
    done = []
    if mend_lock(root):
        done.append("a half-written .dvc/tmp/rwlock, left by a process that was killed, was removed")
    if lock_file_is_damaged(root) and put_lock_file_away(root):
        done.append(f"a half-written {LOCK_FILE}, left by a process that was killed, was put into .work/damaged")
    return done


def lock_file_is_damaged(root: Path) -> bool:
    """Whether DVC cannot read dvc.lock."""
    from dvc.dvcfile import Lockfile
    from dvc.utils.serialize import ParseError
    from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError

    with open_repo(root) as repo:
        try:
            Lockfile(repo, str(root / LOCK_FILE)).load()
        except (ParseError, YAMLSyntaxError, YAMLValidationError):
            return True
    return False


def put_lock_file_away(root: Path) -> bool:
    """Move dvc.lock out of the way: DVC then finds in its cache what every stage made of these inputs, and restores it.

    Returns:
        whether it was moved; not where another DVC process may be writing it.
    """
    from dvc.lock import LockError

    with open_repo(root) as repo:
        try:
            with repo.lock:
                away = Workspace(root).work / "damaged" / LOCK_FILE
                away.parent.mkdir(parents=True, exist_ok=True)
                (root / LOCK_FILE).replace(away)
        except (LockError, FileNotFoundError):
            return False
    return True
