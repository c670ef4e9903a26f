"""An environment of its own for pyDVL, which wants an older numpy than this project."""

import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PINNED = ROOT / "benchmarks/requirements-pydvl.txt"
FOLDER = ROOT / ".work/benchmarks/pydvl"


def pydvl_python() -> Path:
    """The Python of that environment, made on first use and whenever the pinned versions change.

    Raises:
        RuntimeError: pip could not install them.
    """
    python, stamp = FOLDER / "bin/python", FOLDER / "installed.txt"
    pinned = PINNED.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == pinned:
        return python
    print(f"Installing pyDVL and its own torch (about 1.6 GB) into {FOLDER} ...", flush=True)
    venv.create(FOLDER, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PINNED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"pip could not install {PINNED.relative_to(ROOT)}, and without pyDVL there is nothing to compare the "
            f"softmax regression with (leave that row out by --rows): {done.stderr.strip().splitlines()[-1]}"
        )
    stamp.write_text(pinned, encoding="utf-8")
    return python
