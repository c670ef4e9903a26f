"""What can be wrong with the installation, and with DVC's own files. Looking changes nothing."""

from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from flows.dvc_graph import mend_lock, rwlock_is_damaged
from flows.mending import LOCK_FILE, lock_file_is_damaged, put_lock_file_away
from tasks.artifacts import PACKAGE
from tasks.doctor import Finding


def packages() -> Iterator[Finding]:
    """Installed packages other than this one asks for, such as a fastapi that Prefect cannot start with."""
    for text in requires(PACKAGE) or []:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        remedy = f'run: pip install "{wanted.name}{wanted.specifier}"'
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            yield Finding(f"{wanted.name} is not installed", remedy)
            continue
        if not wanted.specifier.contains(installed, prereleases=True):
            yield Finding(f"{wanted.name} {installed} is installed, but {wanted.specifier} is needed", remedy)


def dvc_files(root: Path) -> Iterator[Finding]:
    """DVC's own files, where a kill has halved them. A run mends these by itself."""
    if rwlock_is_damaged(root):
        yield Finding(
            ".dvc/tmp/rwlock is half-written, and no DVC command can read it", "remove it", partial(mend_lock, root)
        )
    if lock_file_is_damaged(root):
        yield Finding(
            f"{LOCK_FILE} is half-written, and DVC cannot read it",
            "put it into .work/damaged, so that the next run finds the results in DVC's cache",
            partial(put_lock_file_away, root),
        )
