"""A small real workspace under git and DVC, of stages that take no time."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from flows.dvc_runner import stage_environment

STAGES = """
stages:
  prepare:
    cmd: python -c "print('prepare reads', flush=True); open('a', 'w').write(open('raw').read() * 2)"
    deps: [raw]
    params: [seed]
    outs: [a]
  train:
    cmd: cat a a > b
    deps: [a]
    params: [train.epochs]
    outs: [b]
  report:
    cmd: mkdir -p report && cat b > report/index.html
    deps: [b]
    params: [report.title]
    outs: [report/index.html]
"""
PARAMETERS = {
    "seed": 0,
    "prepare": {"path": "raw", "source": {"kind": "csv", "label": "y"}},
    "train": {"epochs": 3},
    "report": {"title": "x"},
}


@dataclass(frozen=True)
class Toy:
    """A workspace of quick stages."""

    root: Path

    def dvc(self, *arguments: str, check: bool = True) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        result = subprocess.run(command, cwd=self.root, env=stage_environment(), capture_output=True, text=True)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def parameters(self, **sections: object) -> None:
        """Change sections of params.yaml."""
        path = self.root / "params.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **sections}))

    def command(self, stage: str, command: str) -> None:
        """Change the command of a stage."""
        path = self.root / "dvc.yaml"
        described = yaml.safe_load(path.read_text())
        described["stages"][stage]["cmd"] = command
        path.write_text(yaml.safe_dump(described, sort_keys=False))

    def up_to_date(self) -> bool:
        return "up to date" in self.dvc("status")
