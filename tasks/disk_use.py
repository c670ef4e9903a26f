"""How much of the disk a workspace takes, and what for."""

import os
import shutil
from pathlib import Path

PARTS = {  # in the order of the table; what is none of these is the artifacts, and the data if they lie there
    "DVC's cache of this and earlier runs": ".dvc",
    "unfinished work, logs and copies of data at URLs": ".work",
    "Prefect's database": ".prefect",
}
OTHERS = "artifacts, data and all else"
NOT_COUNTED = frozenset({".git", ".venv"})


def disk_use(root: Path) -> dict[str, int]:
    """Bytes of every part of a workspace, and what is free beside it."""
    used = {title: _size(root / folder) for title, folder in PARTS.items()}
    used[OTHERS] = sum(_size(entry) for entry in root.iterdir() if entry.name not in NOT_COUNTED | set(PARTS.values()))
    return {**used, "free": shutil.disk_usage(root).free}


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    if not path.is_dir():
        return path.lstat().st_size if path.exists() else 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder) / name
            total += file.lstat().st_size if file.is_file() else 0
    return total
