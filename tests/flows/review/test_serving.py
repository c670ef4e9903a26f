"""`influence review` as a process: where it listens, what it says, how it ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from flows.review import command, serving
from flows.review.serving import _free_port
from flows.server import HOST
from tasks.errors import UserError
from tasks.workspace import Workspace

Influence = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_without_flags_one_sentence_and_no_server(tmp_path: Path, influence: Influence) -> None:
    result = influence(tmp_path, "review", "--no-open")
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("influence: ") and result.stderr.count("\n") == 1
    assert "there is nothing to review before `influence run`" in result.stderr


def test_a_port_that_is_taken(taken: int) -> None:
    with pytest.raises(UserError, match=f"port {taken} is taken on this machine: name another with --port"):
        _free_port([taken])
    free = _free_port(serving.PORTS)
    assert free in serving.PORTS
    assert _free_port([taken, free]) == free


def test_the_oracle_answers_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("flows.oracle.run_oracle", lambda root, rounds: asked.append((root, rounds)))
    command.review(oracle=True, rounds=3)
    assert asked == [(Path.cwd(), 3)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_it_listens_on_loopback_and_ends_with_its_parent(
    how: signal.Signals, make_flagged: Callable[..., Workspace]
) -> None:
    workspace = make_flagged()
    script = Path(sys.executable).parent / "influence"
    with subprocess.Popen(
        [script, "review", "--no-open", "--reviewer", "ann"],
        cwd=workspace.root,
        env={**os.environ, "STREAMLIT_SERVER_ADDRESS": "0.0.0.0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith(f"The review is at http://{HOST}:") and line.endswith("Ctrl-C ends it.\n")
        port = int(line.split(",")[0].rsplit(":", 1)[1])
        assert listeners(port) == {"0100007F"}  # 127.0.0.1 in /proc's way
        own = {name: f"http://{name}:{port}" for name in (HOST, "localhost")}  # the latter through a tunnel
        assert [talk(port, name, origin) for name, origin in own.items()] == [101, 101]
        assert talk(port, "elsewhere.example", f"http://elsewhere.example:{port}") == 403
        assert talk(port, HOST, "http://elsewhere.example") == 403
        process.send_signal(how)
        rest = process.stdout.read(), process.stderr.read()
    if how == signal.SIGINT:
        assert process.returncode == 0 and rest == ("", "")
    until = time.monotonic() + 10
    while listeners(port) and time.monotonic() < until:
        time.sleep(0.05)
    assert listeners(port) == set()


def talk(port: int, host: str, origin: str) -> int:
    """What the server answers to a browser that wants to exchange messages: 101 where it may."""
    connection = HTTPConnection(HOST, port, timeout=10)
    headers = {"Host": f"{host}:{port}", "Origin": origin, "Upgrade": "websocket", "Connection": "Upgrade"}
    key = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    connection.request("GET", "/_stcore/stream", headers={**headers, **key})
    with contextlib.closing(connection):
        return connection.getresponse().status


def listeners(port: int) -> set[str]:
    """Addresses on which this machine listens at a port, in hexadecimal."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                local, _, state = row.split()[1:4]
                address, place = local.split(":")
                if state == "0A" and int(place, 16) == port:
                    found.add(address)
    return found
