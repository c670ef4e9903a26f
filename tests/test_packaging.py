"""The sdist and the wheel hold what they must, and work where there is no checkout."""

import csv
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SHIPPED = ("influence/", "tasks/", "flows/", "influence_deployment.py")


def call(*command: str | Path, folder: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked() -> list[str]:
    return [path for path in call("git", "ls-files", "-z", folder=ROOT).split("\0") if (ROOT / path).is_file()]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows, by the installed setuptools: nothing is fetched."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("sdist")
    for path in tracked():
        if path.startswith(SHIPPED) or "/" not in path:
            target = source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / path).read_bytes())
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    call(sys.executable, "-c", build, built, folder=source)
    return next(built.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, as an installation from the index would."""
    built = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    call(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", built, sdist, folder=built)
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment that holds the wheel, and sees the dependencies of this one."""
    root = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", root, folder=root)
    python = root / "bin/python"
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=root).strip())
    # A plain line: the .pth of this environment that leads to the checkout is not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    call(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, folder=root)
    return root / "bin"


def test_the_sdist_can_be_built_again_and_bears_its_licence(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "influence/engine.py"} <= names


def test_the_wheel_holds_all_that_is_shipped_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {path for path in tracked() if path.startswith(SHIPPED)}


def test_it_works_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    with (tmp_path / "people.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "rich"])
        writer.writerows([age, "yes" if age > 40 else "no"] for age in range(20, 80))
    where = call(installed / "python", "-c", "import flows, influence, tasks; print(tasks.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    call("git", "init", "--quiet", folder=tmp_path)
    said = call(installed / "influence", "init", "people.csv", "--label", "rich", folder=tmp_path)
    assert "influence run" in said
    call(installed / "python", "-I", "-m", "tasks.prepare", folder=tmp_path, OMP_NUM_THREADS="1")
    assert (tmp_path / "data/prepared/train.parquet").is_file()
    assert "serve" in call(installed / "influence", "--help", folder=tmp_path)


def test_what_pyproject_says_of_python_is_what_is_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    versions = [line.rpartition(" ")[2] for line in project["project"]["classifiers"] if "Python :: 3." in line]
    assert versions[0] == project["project"]["requires-python"].removeprefix(">=")
    assert project["tool"]["ruff"]["target-version"] == "py" + versions[0].replace(".", "")
    assert project["tool"]["mypy"]["python_version"] == versions[0]
