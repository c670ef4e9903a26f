import shutil
import subprocess
import sys
from pathlib import Path

import influence

PRINT = "import tasks.code; print(tasks.code.code_identity()[-1])"


def identity(root: Path) -> str:
    """As a process sees it that imports from this folder."""
    return subprocess.run([sys.executable, "-c", PRINT], cwd=root, capture_output=True, text=True, check=True).stdout


def test_a_change_of_the_mathematics_is_another_identity(tmp_path: Path) -> None:
    source = Path(influence.__file__).parent
    for name in ("influence", "tasks"):
        shutil.copytree(source.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = identity(tmp_path)
    assert identity(tmp_path) == before
    with (tmp_path / "influence/scores/newton.py").open("a") as file:
        file.write("# changed\n")
    assert identity(tmp_path) != before
