"""A workspace of real stages on tiny data, and the means to run it, kill it and look at what is left."""

import contextlib
import csv
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from tasks import journal

# What takes minutes together; the rest is enough for every day.
thorough = pytest.mark.skipif("INFLUENCE_CRASHES" not in os.environ, reason="takes minutes: set INFLUENCE_CRASHES=1")
BIN = Path(sys.executable).parent
ROWS = 160
STAGES = ("prepare", "train", "precondition", "validate", "score", "flag", "report")  # in the order in which they run
OUTPUTS = ("data/prepared", "model", "curvature", "validation", "scores", "flags", "report")
TIMEOUT = 1200.0  # seconds


@dataclass(frozen=True)
class Laboratory:
    """A workspace. Without a server every run starts its own."""

    root: Path
    server: str | None = None

    def prepare(self) -> None:
        """Make it, for a table that a linear model can learn."""
        generator = np.random.default_rng(0)
        with (self.root / "people.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "age", "hours", "town", "rich"])
            for number in range(ROWS):
                age, hours = int(generator.integers(18, 80)), int(generator.integers(10, 60))
                rich = age / 80 + hours / 60 + 0.2 * generator.standard_normal() > 1.1
                town = generator.choice(["Rome", "Paris", "Oslo"])
                writer.writerow([f"p{number}", age, hours, town, "no" if rich == (number % 20 == 0) else "yes"])
        subprocess.run(["git", "init", "--quiet"], cwd=self.root, check=True)
        self.call("influence", "init", "people.csv", "--label", "rich", "--id", "name")
        parameters = yaml.safe_load((self.root / "params.yaml").read_text())
        parameters["train"]["epochs"] = 3
        parameters["precondition"]["queries"] = {"errors": 3, "sample": 3}
        parameters["score"]["shards"] = 3
        (self.root / "params.yaml").write_text(yaml.safe_dump(parameters))

    def copied(self, root: Path, blank: bool = False) -> "Laboratory":
        """A copy; a blank one has nothing that was made."""
        made = [*OUTPUTS, "dvc.lock", ".work", ".prefect", "history"]
        ignore = shutil.ignore_patterns(*{Path(path).parts[0] for path in made}, "cache", "tmp") if blank else None
        shutil.copytree(self.root, root, ignore=ignore, symlinks=True)
        return Laboratory(root, self.server)

    def environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        return environment | ({"PREFECT_API_URL": self.server} if self.server else {})

    def call(self, *command: str, code: int | None = 0) -> str:
        """Run a command to its end; `code` None: whatever its exit code."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self, *options: str, code: int | None = 0) -> str:
        return self.call("influence", "run", *options, code=code)

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator["Running"]:
        """A command, `influence run` by default, in the background; what is left of it is killed in the end."""
        log = self.root / ".work" / f"output-{time.monotonic_ns()}"
        log.parent.mkdir(exist_ok=True)
        with log.open("w") as output:
            process = psutil.Popen(
                command or ("influence", "run"), cwd=self.root, env=self.environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        running = Running(process, log)
        try:
            yield running
        finally:
            for left in (*running.family(), process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()
            process.wait()

    def artifacts(self) -> dict[str, bytes]:
        """The content of every file that the stages have written."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for folder in OUTPUTS
            for path in sorted((self.root / folder).rglob("*"))
            if path.is_file() and path.suffix != ".part"
        }

    def living(self) -> list[psutil.Process]:
        """Processes at work in the workspace."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.root) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def events(self) -> list[dict[str, Any]]:
        """All lines of all journals, in the order in which they were written."""
        lines = [line for path in journal.logs(self.root / ".work").glob("*.jsonl") for line in journal.read(path)]
        return sorted(lines, key=lambda line: line["time"])


@dataclass(frozen=True)
class Running:
    """A command in the background."""

    process: psutil.Popen
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def family(self) -> list[psutil.Process]:
        """All that it has started and that still lives."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return self.process.children(recursive=True)
        return []

    def find(self, kind: str) -> psutil.Process | None:
        """The process that is the `parent`, `dvc`, the `stage` or the `server`; None if there is none just now."""
        if kind == "parent":
            return self.process if self.process.poll() is None else None
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                arguments = process.cmdline()
                module = next((after for flag, after in itertools.pairwise(arguments) if flag == "-m"), "")
                if kind == "stage" and module.startswith("tasks."):
                    return process
                if module == "flows.lifeline" and {"dvc": "repro", "server": "uvicorn"}.get(kind, "-") in arguments:
                    return process
        return None

    def wait_for(self, *texts: str) -> None:
        """Until the output has one of the texts, or the command has ended."""
        deadline = time.monotonic() + TIMEOUT
        while not any(text in self.output for text in texts) and self.process.poll() is None:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def end(self) -> int:
        """Its exit code."""
        return self.process.wait(TIMEOUT)
