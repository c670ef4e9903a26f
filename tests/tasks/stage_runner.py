"""Stages run as their commands run them."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tasks.parameters import load_parameters
from tasks.stage import StageFunction
from tasks.workspace import Workspace

SLOW = """
import time

def one_then_wait(stage, names, compute):
    compute(names[0])
    print("FIRST SHARD DONE", flush=True)
    time.sleep(600)
"""


def run_in(root: Path, stage: StageFunction) -> None:
    """Run a stage in the workspace's own folder, so that artifacts hold relative paths."""
    with contextlib.chdir(root):
        stage(Workspace(Path()), load_parameters(Path("params.yaml")))


def run_command(root: Path, stage: str) -> str:
    """Run the stage's command to its end, and tell what it printed."""
    command = [sys.executable, "-I", "-m", f"tasks.{stage}"]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def kill_after_the_first_shard(root: Path, stage: str) -> None:
    """Start the stage's command, and kill -9 it when its first shard is on disk and the others are not."""
    (root / "slow_runner.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", f"tasks.{stage}"],
        cwd=root,
        env={**os.environ, "INFLUENCE_SHARD_RUNNER": "slow_runner:one_then_wait"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "FIRST SHARD DONE" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL, "".join(lines)
    assert len(list((root / ".work" / stage).glob("*/*.safetensors"))) == 1
