"""Our jobs and the peers' by turns, and the table of their medians."""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.mnist import mnist_folder
from benchmarks.speed.bench import WARMING
from benchmarks.speed.environment import PINNED, ROOT, pydvl_python
from benchmarks.speed.measure import Cost, read_report
from benchmarks.speed.ours import RANK
from benchmarks.speed.rows import ROWS, Row
from tasks.artifacts import write_text

GROWTH = (1_000, 10_000, 60_000)
GROWING = {"mlp-fit": "EK-FAC fit", "mlp-self": "self-influence", "mlp-top": "top 20 of both tails"}
GROWTH_ROW = "growth"
EVERY_ROW = ",".join([*(row.name for row in ROWS), GROWTH_ROW])
MIB = 2**20


@dataclass(frozen=True)
class Compared:
    """A row's costs, run by run, and how well the scores of the two sides agree (None: it has none)."""

    row: Row
    ours: list[Cost]
    theirs: list[Cost]
    agreement: float | None


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of MNIST's files; else INFLUENCE_DATA/mnist.")] = None,
    rows: Annotated[str, typer.Option(help="Which, with commas between.")] = EVERY_ROW,
    examples: Annotated[int, typer.Option(help="Training examples, but for the growth.")] = 10_000,
    queries: Annotated[int, typer.Option(help="Queries.")] = 500,
    repeats: Annotated[int, typer.Option(help="Runs of every job; the median counts.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the tables go.")] = ROOT / "benchmarks/results/speed.md",
) -> None:
    """CPU time and memory beside pyDVL and kronfluence on MNIST, and how both grow with the training set."""
    mnist, chosen = mnist_folder(data), rows.split(",")
    if unknown := set(chosen) - set(EVERY_ROW.split(",")):
        raise typer.BadParameter(f"there is no row {sorted(unknown)[0]!r}; there are {EVERY_ROW}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print("training the models", flush=True)
        sizes = ["--examples", str(examples), "--queries", str(queries)]
        models = _python("prepare", [str(mnist), str(folder), *sizes]).strip()
        known: dict[tuple[str, str], list[Cost]] = {}
        compared = [_compared(row, folder, examples, repeats, known) for row in ROWS if row.name in chosen]
        low_rank = _low_rank(folder)
        growth = _growth(folder, repeats) if GROWTH_ROW in chosen else ""
    heading = _heading(examples, queries, repeats, models.splitlines())
    command = f"python -m benchmarks speed --rows {rows} --examples {examples} --queries {queries} --repeats {repeats}"
    sections = [heading, _table(compared), low_rank, growth, f"Made by `INFLUENCE_DATA=<folder> {command}`."]
    text = "\n\n".join(section for section in sections if section) + "\n"
    write_text(output, text)
    print(text)


def _python(module: str, arguments: Sequence[str], python: Path | str = sys.executable) -> str:
    """What `python -m benchmarks.speed.MODULE` prints, run on one thread."""
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [str(python), "-m", f"benchmarks.speed.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **one}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def _run(side: str, job: str, folder: Path, examples: int) -> Cost:
    python = pydvl_python() if side == "pydvl" else sys.executable
    cost = read_report(_python(side, [job, str(folder), "--examples", str(examples)], python))
    print(f"{side} {job}, {examples:,} examples: {cost.cpu:.2f} CPU s, {cost.added / MIB:.0f} MiB", flush=True)
    return cost


def _compared(
    row: Row, folder: Path, examples: int, repeats: int, known: dict[tuple[str, str], list[Cost]]
) -> Compared:
    """Both sides by turns; a peer's job that an earlier row measured is not run again."""
    ours, theirs = [], known.get((row.peer, row.theirs), [])
    for index in range(repeats):
        ours.append(_run("ours", row.ours, folder, examples))
        if index == len(theirs):
            theirs.append(_run(row.peer, row.theirs, folder, examples))
    known[row.peer, row.theirs] = theirs
    files = [folder / f"{side}.scores" for side in (f"ours-{row.ours}", f"{row.peer}-{row.theirs}")]
    kept = [torch.load(file, weights_only=True) for file in files if file.is_file()]
    return Compared(row, ours, theirs, _agreement(*kept) if len(kept) == 2 else None)


def _agreement(ours: Tensor, theirs: Tensor) -> float:
    """Pearson correlation over training examples, [N]; of pairwise scores [Q, N] the mean over queries."""
    return float(_correlations(ours, theirs).mean())


def _correlations(left: Tensor, right: Tensor) -> Tensor:
    """Pearson correlation of every row, [Q]; of scores [N] the one there is."""
    rows = [scores.double().reshape(-1, scores.shape[-1]) for scores in (left, right)]
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*rows, strict=True)])


def _low_rank(folder: Path) -> str:
    """How near the scores of low rank are to the exact ones, where both were computed."""
    files = [folder / f"ours-{job}.scores" for job in ("mlp-low-rank", "mlp-pairwise")]
    if not all(file.is_file() for file in files):
        return ""
    found = _correlations(*(torch.load(file, weights_only=True) for file in files))
    return (
        f"Low rank: {RANK} terms in place of each layer's inverse. Against our own exact EK-FAC scores, over all "
        f"training examples, Pearson's correlation is {float(found.min()):.4f} for the worst of {len(found)} queries "
        f"and {float(found.mean()):.4f} in the mean. The engine's own measure of the error, on a sample, is part of "
        "the job."
    )


def _table(compared: list[Compared]) -> str:
    if not compared:
        return ""
    lines = [
        "| job | against | CPU s | theirs | ratio | to reach | added MiB (process) | theirs | ratio | to reach "
        "| agreement |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for found in compared:
        row = found.row
        cpu, their_cpu = (statistics.median(cost.cpu for cost in side) for side in (found.ours, found.theirs))
        added, their_added = (statistics.median(cost.added for cost in side) for side in (found.ours, found.theirs))
        peak, their_peak = (statistics.median(cost.peak for cost in side) for side in (found.ours, found.theirs))
        memory = "" if row.memory is None else _verdict(added / their_added, row.memory)
        if row.limit is not None:
            memory = f"<= {row.limit / 1e9:g} GB in all: {'met' if peak <= row.limit else 'missed'}"
        agreement = "" if found.agreement is None else f"{found.agreement:.4f}"
        lines.append(
            f"| {row.title} | {row.peer} | {cpu:.2f} | {their_cpu:.1f} | {_share(cpu / their_cpu)} "
            f"| {_verdict(cpu / their_cpu, row.cpu)} | {added / MIB:.0f} ({peak / MIB:.0f}) "
            f"| {their_added / MIB:.0f} ({their_peak / MIB:.0f}) | {_share(added / their_added)} | {memory} "
            f"| {agreement} |"
        )
    return "\n".join(lines)


def _share(ratio: float) -> str:
    return f"1/{1 / ratio:.3g}" if ratio < 1 else f"{ratio:.2f}"


def _verdict(ratio: float, target: float) -> str:
    return f"<= {_share(target)}: {'met' if ratio <= target else 'missed'}"


def _growth(folder: Path, repeats: int) -> str:
    lines = [
        "How the MLP's jobs grow with the training set:\n",
        "| job | examples | CPU s | CPU ms an example | added MiB |",
        "|---|---|---|---|---|",
    ]
    for job, title in GROWING.items():
        for examples in GROWTH:
            costs = [_run("ours", job, folder, examples) for _ in range(repeats)]
            cpu = statistics.median(cost.cpu for cost in costs)
            added = statistics.median(cost.added for cost in costs)
            lines.append(f"| {title} | {examples:,} | {cpu:.2f} | {1000 * cpu / examples:.3f} | {added / MIB:.0f} |")
    return "\n".join(lines)


def _heading(examples: int, queries: int, repeats: int, models: list[str]) -> str:
    pinned = dict(line.split("==") for line in PINNED.read_text(encoding="utf-8").split())
    return (
        f"Beside other libraries on MNIST: {examples:,} training examples, {queries} queries, the same weights and "
        "data on both sides. Every job ran in a process of its own on one thread, ours and theirs by turns; medians of "
        f"{repeats}. CPU seconds are user and system time of the whole process while the job ran; what comes before "
        f"(imports, data, model, a run on {WARMING} examples) is left out. Memory is what the job added to the "
        "resident memory at its peak, and in brackets the peak of the whole process. Models: softmax regression; "
        f"{'; '.join(models)}. kronfluence draws one label an example from the model (its default) where our fit takes "
        "the expectation over all ten; batch sizes of the peers are those that took them the least CPU time. "
        "Agreement is Pearson's correlation of the scores of both sides, for pairwise scores the mean over queries."
        "\n\n"
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}, "
        f"kronfluence {version('kronfluence')}, pyDVL {pinned['pyDVL']} with torch {pinned['torch']} and numpy "
        f"{pinned['numpy']}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
