"""The server of the page: Streamlit in a child process, on the loopback, ending with the process that started it."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.lifeline import Child
from flows.server import HOST, answers
from tasks.errors import UserError
from tasks.reviews.queue import build
from tasks.workspace import Workspace

PORTS = range(8501, 8600)  # the first that is free: Streamlit's own, or one of those after it
START_TIMEOUT = 120.0  # seconds, on a busy machine
PAGE = Path(__file__).with_name("page.py")
HOSTS = (HOST, "localhost")  # names under which a browser may speak to it: others lead here by a forged DNS entry
# Whatever else the user's own settings of Streamlit say.
OPTIONS = {
    "server.address": HOST,
    "server.baseUrlPath": "",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.showEmailPrompt": "false",
    "browser.serverAddress": HOST,
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorLinks": "false",
    "runner.magicEnabled": "false",
    # the colours of the report
    "theme.font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif",
    "theme.baseRadius": "8px",
    "theme.light.backgroundColor": "#fbfaf8",
    "theme.light.secondaryBackgroundColor": "#f3f0eb",
    "theme.light.textColor": "#1c1b1a",
    "theme.light.primaryColor": "#0b5c8f",
    "theme.dark.backgroundColor": "#161719",
    "theme.dark.secondaryBackgroundColor": "#1f2124",
    "theme.dark.textColor": "#ecebe8",
    "theme.dark.primaryColor": "#3d87bd",
}


@dataclass(frozen=True)
class Server:
    """A page that is being served."""

    url: str
    _child: Child

    def wait(self) -> None:
        """Until somebody interrupts this process.

        Raises:
            UserError: the server ended by itself.
        """
        with contextlib.suppress(KeyboardInterrupt):
            self._child.process.wait()
            raise UserError("the review's server has ended: start it again with `influence review`")


@contextlib.contextmanager
def serving(root: Path, reviewer: str, port: int | None = None) -> Iterator[Server]:
    """Serve the page of a workspace until the context ends, or this process does.

    Args:
        root: the workspace.
        reviewer: who judges, unless they say otherwise on the page.
        port: on the loopback; None: the first of `PORTS` that is free.

    Raises:
        UserError: there is nothing to review, the port is taken, or the server did not start.
    """
    workspace = Workspace(root.resolve())
    build(workspace)  # what is missing or damaged is told here and now
    port = _free_port(PORTS if port is None else [port])
    options = [f"--{name}={value}" for name, value in {**OPTIONS, "server.port": port}.items()]
    options += [f"--server.allowedHosts={name}" for name in HOSTS]
    command = ["streamlit", "run", str(PAGE), *options, "--", str(workspace.root), reviewer]
    log = workspace.work / f"review-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output, Child(command, workspace.root, os.environ, output) as child:
        url = f"http://{HOST}:{port}"
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(f"{url}/_stcore/health"):
            if child.process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"the review's server did not start: see {log}")
            time.sleep(0.1)
        yield Server(url, child)


def _free_port(wanted: Sequence[int]) -> int:
    for port in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    some = f"port {wanted[0]}" if len(wanted) == 1 else f"every port from {wanted[0]} to {wanted[-1]}"
    raise UserError(f"{some} is taken on this machine: name another with --port")
