"""A PostgreSQL server of one's own on loopback, of Debian's package `postgresql`."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flows.server import free_port

NAME = "prefect"


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, which Debian keeps off the path; None where they are not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (installed and installed[-1])
    return Path(found).resolve().parent if found else None


@contextlib.contextmanager
def database() -> Iterator[str]:
    """Yields the connection URL as Prefect takes it, of an empty database that goes with the server."""
    folder, port, programs = Path(tempfile.mkdtemp(prefix="postgresql-")), free_port(0), binaries()
    assert programs is not None
    # The server refuses to run as root.
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres", "postgres")

    def run(program: str, *arguments: str) -> None:
        command = [*user, str(programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    data = str(folder / "data")
    settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    try:
        run("initdb", "--pgdata", data, "--username", NAME, "--auth", "trust")
        run("pg_ctl", "--pgdata", data, "--log", str(folder / "log"), "--options", settings, "--wait", "start")
        try:
            run("createdb", "--host", "127.0.0.1", "--port", str(port), "--username", NAME, NAME)
            yield f"postgresql+asyncpg://{NAME}@127.0.0.1:{port}/{NAME}"
        finally:
            run("pg_ctl", "--pgdata", data, "--mode", "fast", "--wait", "stop")
    finally:
        shutil.rmtree(folder)
