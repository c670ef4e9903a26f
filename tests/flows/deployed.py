"""The deployments of prefect.yaml on a server, with a worker of a process work pool."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from toy import Toy
from waiting import ask, wait_until

from flows.init import render

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


class Deployed:
    """A workspace deployed to the pool `influence`, and a worker that serves it.

    Args:
        toy: the workspace; prefect.yaml is written into it.
        server: URL of the API.
        name: of its deployment of the pipeline.
    """

    def __init__(self, toy: Toy, server: str, name: str = "nightly") -> None:
        self.toy, self.server, self.name = toy, server, name
        (toy.root / "prefect.yaml").write_text(render("prefect.yaml").replace("name: nightly", f"name: {name}"))
        # As for a worker of another installation: the repository is not its working directory.
        self.environment = {**os.environ, "PREFECT_API_URL": server, "PYTHONPATH": str(REPOSITORY)}
        self.environment |= {"PWD": str(toy.root), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        self.worker: subprocess.Popen[bytes] | None = None

    def prefect(self, *arguments: str) -> None:
        command = [BIN / "prefect", "--no-prompt", *arguments]
        done = subprocess.run(command, cwd=self.toy.root, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def start_worker(self) -> None:
        command = [BIN / "prefect", "worker", "start", "--pool", "influence", "--limit", "1"]
        with (self.toy.root.parent / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                command, cwd=self.toy.root.parent, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def kill_worker(self) -> None:
        """SIGKILL it and everything it has started, as the loss of its machine would."""
        assert self.worker is not None
        lost = [*psutil.Process(self.worker.pid).children(recursive=True), self.worker]
        for process in lost:
            process.send_signal(signal.SIGKILL)
        self.worker.wait()
        self.worker = None

    def post(self, path: str, content: object = None) -> Any:
        return ask("POST", f"{self.server}/{path}", json=content or {})

    def get(self, path: str, **query: str) -> Any:
        return ask("GET", f"{self.server}/{path}", params=query)

    def deployment(self, name: str | None = None, flow: str = "influence-pipeline") -> dict[str, Any]:
        return self.get(f"deployments/name/{flow}/{name or self.name}")

    def start(self) -> str:
        """Ask for a run of the pipeline now; its id."""
        return self.post(f"deployments/{self.deployment()['id']}/create_flow_run")["id"]

    def run(self, flow_run: str) -> dict[str, Any]:
        return self.get(f"flow_runs/{flow_run}")

    def ends(self, flow_run: str, seconds: float = 120) -> dict[str, Any]:
        """The run, once it has ended."""
        final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        return wait_until(lambda: (run := self.run(flow_run))["state_type"] in final and run, seconds)

    def stage_at_work(self) -> int:
        """The process of the stage that waits, once it does."""
        path = self.toy.root / "stage_pid"
        return int(wait_until(lambda: path.exists() and path.read_text().strip()))

    def reset(self, command: str) -> None:
        for name in ("stage_pid", "go"):
            (self.toy.root / name).unlink(missing_ok=True)
        self.toy.command("prepare", command)
