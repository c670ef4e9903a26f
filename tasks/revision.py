"""The commit of git that ties an artifact to all else that was true when it was made."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

FIELDS = "%h%x00%cs%x00%s"


@dataclass(frozen=True)
class Revision:
    """A commit: its short hash, its day (ISO 8601) and the first line of its message."""

    commit: str
    day: str
    subject: str


def recorded_by(lock: Path, content: str) -> Revision | None:
    """The last commit that brought this hash into a dvc.lock.

    Args:
        lock: the file dvc.lock.
        content: the hash in it.

    Returns:
        None where no commit holds it: nothing was committed since the run, or there is no git.
    """
    for line in _git(lock.parent, "log", f"--format={FIELDS}", f"-S{content}", "--", lock.name).splitlines():
        revision = Revision(*line.split("\0"))
        if content in _git(lock.parent, "show", f"{revision.commit}:./{lock.name}"):
            return revision  # the others took it out
    return None


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; nothing where it fails or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, errors="replace")
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
