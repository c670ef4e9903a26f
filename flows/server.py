"""A Prefect server of one's own on loopback, that ends with the process that started it."""

import contextlib
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from flows.lifeline import Child
from tasks.errors import UserError

HOST = "127.0.0.1"
PORT = 4200  # Prefect's own
START_TIMEOUT = 240.0  # seconds; the first start makes the database, and the machine may be busy
# Prefect's own words for a server that runs nothing but what records the runs.
EPHEMERAL = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@contextlib.contextmanager
def local_server(home: Path, port: int = PORT) -> Iterator[str]:
    """Start a server whose database lies in `home`, and end it.

    Args:
        home: Prefect's folder.
        port: where to listen; another where this one is taken, or is 0.

    Yields:
        the URL of its API, for PREFECT_API_URL.

    Raises:
        UserError: it ended, or did not answer in time.
    """
    port = free_port(port)
    url = f"http://{HOST}:{port}/api"
    command = ["prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with _serving(command, home, url, {"PREFECT_UI_API_URL": url}):
        yield url


@contextlib.contextmanager
def temporary_server(home: Path) -> Iterator[str]:
    """The server of a single run, without a page: as Prefect starts one, except that it never outlives this process.

    Yields and raises what `local_server` does.
    """
    import prefect

    port = free_port(0)
    url = f"http://{HOST}:{port}/api"
    where = ["--app-dir", str(prefect.__module_path__.parent), "--host", HOST, "--port", str(port)]
    quietly = ["--log-level", "error", "--lifespan", "on"]
    command = ["uvicorn", *where, *quietly, "--factory", "prefect.server.api.server:create_app"]
    with _serving(command, home, url, EPHEMERAL):
        yield url


@contextlib.contextmanager
def _serving(command: list[str], home: Path, url: str, extra: dict[str, str]) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        **extra,
    }
    log = home / "server.log"
    with log.open("w") as output, Child(command, home, environment, output) as child:
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(f"{url}/health"):
            if child.process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"Prefect's server did not start: see {log}")
            time.sleep(0.25)
        yield


def free_port(wanted: int) -> int:
    """`wanted`, or any other port where that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError(f"{HOST} has no free port")


def answers(address: str) -> bool:
    """Whether a server says there that it is well."""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
