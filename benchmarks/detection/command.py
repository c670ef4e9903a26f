"""`python -m benchmarks detection`: measure what is missing, then write the table and the figure."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.detection import cell, tables
from benchmarks.detection.settings import ROOT, SETTINGS, Setting
from benchmarks.mnist import VARIABLE
from tasks.artifacts import fingerprint, read_json, write_json, write_text

WORK = ROOT / ".work/benchmarks/detection"
Work = Callable[[Setting, Path, int], dict[str, Any]]


def main(
    settings: Annotated[str, typer.Option(help="Which, with commas between; their names start so.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds of each.")] = 5,
    table_only: Annotated[bool, typer.Option("--table-only", help="Of what is measured; measure no more.")] = False,
    output: Annotated[Path, typer.Option(help="Stem of the table and the figure.")] = ROOT
    / "benchmarks/results/detection",
) -> None:
    """Errors found by the flags, by each signal alone and by cleanlab, mean and standard error over seeds.

    Every cell is kept in .work/benchmarks/detection as soon as it is measured: stopped and started again, only the
    missing ones are measured, seed by seed.
    """
    torch.set_num_threads(1)
    folder = Path(os.environ.get(VARIABLE, "."))
    chosen = [name for name in SETTINGS if any(name.startswith(start) for start in settings.split(","))]
    for work in () if table_only else (cell.run, cell.run_retrained):
        for seed in range(seeds):
            for name in chosen:
                _measured(work, name, SETTINGS[name], folder, seed)
    results = {name: _kept(name, SETTINGS[name], seeds) for name in SETTINGS}
    missing = [name for name, runs in results.items() if len(runs) < seeds]
    text = tables.write({name: runs for name, runs in results.items() if runs}, missing, seeds)
    write_text(output.with_suffix(".md"), text)
    tables.draw({name: runs for name, runs in results.items() if runs}, output)
    print(text)


def _path(work: Work, name: str, setting: Setting, seed: int) -> Path:
    """The name holds a hash of all parameters but the places of the data."""
    parameters = str(cell.parameters(setting, Path(), seed)).replace(str(ROOT), "")
    return WORK / work.__name__ / f"{name}-{seed}-{fingerprint(parameters, setting.human)}.json"


def _measured(work: Work, name: str, setting: Setting, folder: Path, seed: int) -> None:
    path = _path(work, name, setting, seed)
    if path.exists() or (work is cell.run_retrained and not setting.retrain):
        return
    start = time.process_time()
    found = work(setting, folder, seed)
    write_json(path, {**found, "cpu_seconds": time.process_time() - start})
    precision = {
        signal: one["average_precision"] for signal, one in found.get("signals", {work.__name__: found}).items()
    }
    told = ", ".join(f"{signal} {value:.3f}" for signal, value in precision.items())
    print(f"{name}, seed {seed}, {time.process_time() - start:.0f} s of CPU: {told}", flush=True)


def _kept(name: str, setting: Setting, seeds: int) -> list[dict[str, Any]]:
    """The measurements of every seed, those of retrained networks among the signals."""
    found = []
    for seed in range(seeds):
        path, other = (_path(work, name, setting, seed) for work in (cell.run, cell.run_retrained))
        if path.exists():
            run = read_json(path)
            if other.exists():
                run["signals"][cell.RETRAINED] = read_json(other)
            found.append(run)
    return found
