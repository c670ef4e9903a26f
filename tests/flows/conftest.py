"""Small real workspaces under git and DVC, and one real Prefect server for all tests that need one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from flows import settings

sys.path.insert(0, str(Path(__file__).parent))  # for `toy`
from toy import PARAMETERS, STAGES, Toy


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test may touch the user's Prefect, or a server of theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("DVC_NO_ANALYTICS", "1")
        yield


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised workspace to copy."""
    root = tmp_path_factory.mktemp("pattern") / "workspace"
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / "dvc.yaml").write_text(STAGES)
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMETERS))
    (root / "raw").write_text("hello\n")
    toy = Toy(root)
    toy.dvc("init", "--quiet")
    toy.dvc("config", "core.analytics", "false")
    toy.dvc("config", "core.autostage", "true")
    return root


@pytest.fixture
def toy(pattern: Path, tmp_path: Path) -> Toy:
    root = tmp_path / "workspace"
    shutil.copytree(pattern, root)
    return Toy(root)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, environment: None) -> Iterator[str]:
    """The URL of a real server's API."""
    from flows.server import local_server

    with local_server(tmp_path_factory.mktemp("server"), port=0) as url:
        yield url


@pytest.fixture
def on_server(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Prefect uses the server, in this process and in those it starts."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    monkeypatch.setenv("PREFECT_API_URL", server)
    with temporary_settings({PREFECT_API_URL: server, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield server


@pytest.fixture
def influence() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed console script."""

    def run(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        script = Path(sys.executable).parent / "influence"
        environment = {**os.environ, "COLUMNS": "200", **variables}
        return subprocess.run([script, *arguments], cwd=root, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture
def clean_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which none of the settings is made."""
    for name in settings.defaults(Path()):
        monkeypatch.delenv(name, raising=False)
