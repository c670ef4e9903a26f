"""What was measured, as tables: one for each size, what each further row took, and how that goes on."""

import itertools
from collections.abc import Sequence
from typing import Any

from benchmarks.soak.fit import Fit, fit

MIB = 2**20
DEGREE = {"flag": 2}  # of CPU time in the rows: its search for neighbours compares all with all; the others are linear
Run = dict[str, Any]  # as the command keeps it


def write_report(runs: Sequence[Run]) -> str:
    """The text of the results, of runs of any sizes."""
    ordered = sorted(runs, key=lambda run: run["rows"])
    sections = [
        _heading(ordered),
        *(_table(run) for run in ordered),
        _growth(ordered),
        _model(ordered),
        _made_by(ordered),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _heading(runs: Sequence[Run]) -> str:
    machines = "; ".join(dict.fromkeys(run["machine"] for run in runs))
    return (
        "The whole pipeline on synthetic tables (24 numbers, 2 categories, 4 classes, 5 % of the training labels "
        "changed), an MLP of 32 and 16 units, five epochs. Every stage is `python -I -m tasks.STAGE`, a process of its "
        "own whose address space is limited by the kernel (RLIMIT_AS), start and imports included. CPU is user and "
        "system time of all threads. Peak is the largest resident memory. Written is what was handed to the kernel, "
        "the shards of `.work` included; kept is what all files of the workspace hold after the stage, the table "
        "left out; files is the most there were at once. Silence is the longest time between two lines that the "
        "stage printed; starting counts.\n\n"
        f"{machines}. Other work shared the machine, so that CPU time is to be relied upon, and wall time is not."
    )


def _table(run: Run) -> str:
    lines = [
        f"## {run['rows']:,} rows, {run['queries']:,} queries, {run['limit'] / 2**30:g} GiB, {run['threads']} threads",
        "",
        f"The table is a Parquet file of {run['table'] / MIB:.0f} MiB.",
        "",
        "| stage | CPU s | wall s | rows / CPU s | peak MiB | written MiB | kept MiB | files | silence s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cost in run["stages"]:
        lines.append(
            f"| {cost['stage']} | {cost['cpu']:.1f} | {cost['wall']:.1f} | {run['rows'] / cost['cpu']:,.0f} "
            f"| {cost['peak'] / MIB:.0f} | {cost['written'] / MIB:.1f} | {cost['kept'] / MIB:.1f} | {cost['files']} "
            f"| {cost['silence']:.0f} |"
        )
    total = sum(cost["cpu"] for cost in run["stages"]), sum(cost["wall"] for cost in run["stages"])
    lines.append(f"| all of these | {total[0]:.1f} | {total[1]:.1f} | {run['rows'] / total[0]:,.0f} | | | | | |")
    if run["failed"]:
        lines += ["", f"Then it failed: {run['failed'].splitlines()[-1]}"]
    return "\n".join(lines)


def _growth(runs: Sequence[Run]) -> str:
    """What each further row took, step by step: flat where a stage is linear, and 0 where it does not grow."""
    steps = list(itertools.pairwise(runs))
    if not steps:
        return ""
    names = [f"{one['rows']:,} to {other['rows']:,}" for one, other in steps]
    stages = list(dict.fromkeys(cost["stage"] for run in runs for cost in run["stages"]))
    lines = ["## What a further row takes", ""]
    for title, key, unit in (("CPU ms", "cpu", 1e-3), ("bytes of memory at the peak", "peak", 1.0)):
        lines += [f"| {title} | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        for stage in stages:
            cells = [_further(one, other, stage, key, unit) for one, other in steps]
            lines.append(f"| {stage} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines[:-1])


def _further(one: Run, other: Run, stage: str, key: str, unit: float) -> str:
    found = [next((cost[key] for cost in run["stages"] if cost["stage"] == stage), None) for run in (one, other)]
    if found[0] is None or found[1] is None:
        return ""
    each = (found[1] - found[0]) / (other["rows"] - one["rows"]) / unit
    return f"{each:,.0f}" if abs(each) >= 100 else f"{each:.3g}"


def _model(runs: Sequence[Run]) -> str:
    """Cost as a polynomial in the rows, where there are enough sizes to find one wrong."""
    lines = [
        "## Fitted to these sizes",
        "",
        "By least squares of relative errors; deviation is the largest of them. N is the number of rows. Peaks are of "
        "resident memory; the limit counts address space, which is more, and is met earlier.",
        "",
        "| stage | CPU s | deviation | peak MiB | deviation | rows at which the peak reaches the limit |",
        "|---|---|---|---|---|---|",
    ]
    for stage in dict.fromkeys(cost["stage"] for run in runs for cost in run["stages"]):
        costs = [(run["rows"], cost) for run in runs for cost in run["stages"] if cost["stage"] == stage]
        rows = [size for size, _ in costs]
        cpu = fit(rows, [cost["cpu"] for _, cost in costs], DEGREE.get(stage, 1))
        peak = fit(rows, [cost["peak"] / MIB for _, cost in costs], 1)
        if cpu is None or peak is None:
            continue
        start, each = peak.coefficients
        ends = f"{(runs[-1]['limit'] / MIB - start) / each / 1e6:.2g} million" if each > 0 else "never"
        lines.append(
            f"| {stage} | {_formula(cpu, 's')} | {cpu.deviation:.1%} | {_formula(peak, 'MiB')} | {peak.deviation:.1%} "
            f"| {ends} |"
        )
    return "\n".join(lines) if len(lines) > 6 else ""


def _formula(found: Fit, unit: str) -> str:
    parts = [f"{found.coefficients[0]:.3g} {unit}"]
    for power, factor in enumerate(found.coefficients[1:], 1):
        parts.append(f"{factor * 1e3**power:.3g} {unit} (N/1000){'²' if power == 2 else ''}")
    return " + ".join(parts)


def _made_by(runs: Sequence[Run]) -> str:
    """The commands, one for all sizes that were run alike."""
    sizes: dict[str, list[str]] = {}
    for run in runs:
        last = run["stages"][-1]["stage"] if run["stages"] else "prepare"
        memory = f"{run['limit'] / 2**30:g}GiB"
        options = f"--queries {run['queries']} --memory {memory} --threads {run['threads']} --until {last}"
        sizes.setdefault(options, []).append(str(run["rows"]))
    commands = [f"`python -m benchmarks soak --rows {','.join(rows)} {options}`" for options, rows in sizes.items()]
    return f"Made by {', '.join(commands)}."
