"""One small workspace that ran undisturbed, for all that is then done to copies of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `laboratory`
from laboratory import Laboratory


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Prefect server's API."""
    from flows.server import local_server

    with local_server(tmp_path_factory.mktemp("server"), port=0) as url:
        yield url


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, server: str) -> Laboratory:
    """A workspace in which everything has run once."""
    root = tmp_path_factory.mktemp("undisturbed") / "workspace"
    root.mkdir()
    laboratory = Laboratory(root, server)
    laboratory.prepare()
    laboratory.run()
    return laboratory


@pytest.fixture
def copy(undisturbed: Laboratory, tmp_path: Path) -> Laboratory:
    """A copy of it, with everything that was made."""
    return undisturbed.copied(tmp_path / "copy")


@pytest.fixture
def blank(undisturbed: Laboratory, tmp_path: Path) -> Laboratory:
    """A copy of it in which nothing has run yet."""
    return undisturbed.copied(tmp_path / "blank", blank=True)


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir()
    return (
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False).returncode
        == 0
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 32 MiB."""
    folder = tmp_path / "disk"
    if os.geteuid() or not mounted(folder, "32m"):
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
