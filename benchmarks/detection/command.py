"""`python -m benchmarks detection`: measure what is missing, then write the table and the figure."""

import functools
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
from tasks.artifacts import content_hash, fingerprint, read_json, write_json, write_text
from tasks.flag import FUSED

WORK = ROOT / ".work/benchmarks/detection"
DETECTOR = (
    "influence/detection/calibration.py",
    "influence/detection/class_evidence.py",
    "influence/detection/error_model.py",
    "influence/detection/folds.py",
    "influence/detection/fusion.py",
    "influence/detection/held_out_noise.py",
    "influence/detection/margin_odds.py",
    "influence/detection/neighbours.py",
    "tasks/corruption.py",
    "tasks/out_of_sample.py",
    "tasks/signals.py",
)
Work = Callable[[Setting, Path, int], dict[str, Any]]
SIGNALS: dict[Work, str] = {cell.run_retrained: cell.RETRAINED, cell.run_known: cell.KNOWN}  # one each, of new networks
WORKS: tuple[Work, ...] = (cell.run, *SIGNALS)
RETRAINING = 1.5  # of the time of a cell: five networks, but no solver


def main(
    settings: Annotated[str, typer.Option(help="Which, with commas between; their names start so.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds of each.")] = 5,
    table_only: Annotated[bool, typer.Option("--table-only", help="Of what is measured; measure no more.")] = False,
    output: Annotated[Path, typer.Option(help="Stem of the table and the figure.")] = ROOT
    / "benchmarks/results/detection",
) -> None:
    """Errors found by the flags, by each signal alone and by cleanlab, mean and standard error over seeds.

    Every cell is kept in .work/benchmarks/detection as soon as it is measured: stopped and started again, only the
    missing ones are measured. Every setting gets its first seed before any gets its second, and the table and the
    figure are written after each round, and by --table-only at any time.
    """
    torch.set_num_threads(1)
    folder = Path(os.environ.get(VARIABLE, "."))
    chosen = [name for name in SETTINGS if any(name.startswith(start) for start in settings.split(","))]
    if not table_only:
        _tell_time(chosen, seeds)
    for seed in () if table_only else range(seeds):
        for name in chosen:
            for work in WORKS:
                _measured(work, name, SETTINGS[name], folder, seed)
        _publish(seeds, output)
    print(_publish(seeds, output))


def _publish(seeds: int, output: Path) -> str:
    """Write the table and the figure of what is measured; the table again."""
    results = {name: _kept(name, SETTINGS[name], seeds) for name in SETTINGS}
    missing = [name for name, runs in results.items() if len(runs) < seeds]
    found = {name: runs for name, runs in results.items() if runs}
    text = tables.write(found, missing, seeds)
    write_text(output.with_suffix(".md"), text)
    tables.draw(found, output)
    return text


def _tell_time(chosen: list[str], seeds: int) -> None:
    """Say how many cells are missing, and how long they take together."""
    wanted = [(work, name, seed) for seed in range(seeds) for name in chosen for work in WORKS]
    missing = [
        (work, SETTINGS[name])
        for work, name, seed in wanted
        if _asked(work, SETTINGS[name]) and not _path(work, name, SETTINGS[name], seed).exists()
    ]
    seconds = sum(setting.seconds * (RETRAINING if work in SIGNALS else 1.0) for work, setting in missing)
    print(f"{len(missing)} cells to measure, about {seconds / 60:.0f} minutes of CPU", flush=True)


def _asked(work: Work, setting: Setting) -> bool:
    return work is cell.run or setting.retrain


def _path(work: Work, name: str, setting: Setting, seed: int) -> Path:
    """The name holds a hash of the detector's code and of all parameters but the places of the data."""
    parameters = str(cell.parameters(setting, Path(), seed)).replace(str(ROOT), "")
    identity = fingerprint(parameters, setting.human, setting.noisy_validation, _code())
    return WORK / work.__name__ / f"{name}-{seed}-{identity}.json"


@functools.cache
def _code() -> list[str]:
    """The files that decide what is found: numbers of one version never stand beside those of another."""
    return [str(FUSED), *(content_hash(ROOT / name) for name in DETECTOR)]


def _measured(work: Work, name: str, setting: Setting, folder: Path, seed: int) -> None:
    path = _path(work, name, setting, seed)
    if path.exists() or not _asked(work, setting):
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
        path = _path(cell.run, name, setting, seed)
        if path.exists():
            run = read_json(path)
            others = {signal: _path(work, name, setting, seed) for work, signal in SIGNALS.items()}
            run["signals"] |= {signal: read_json(other) for signal, other in others.items() if other.exists()}
            found.append(run)
    return found
