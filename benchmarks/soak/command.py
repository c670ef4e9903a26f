"""The stages one after the other on tables of several sizes, and the tables of what they took."""

import json
import os
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml

from benchmarks.soak.report import write_report
from benchmarks.soak.table import write_table
from benchmarks.soak.watch import Cost, StageFailedError, run_stage
from influence.bytesize import parse_bytes
from tasks.artifacts import write_json, write_text
from tasks.reviews import store
from tasks.workspace import Workspace

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".work/benchmarks/soak"
STAGES = ("prepare", "train", "precondition", "validate", "score", "flag", "report")
HELD_OUT = 2  # validation examples for each query, and as many test examples


def main(
    rows: Annotated[str, typer.Option(help="Of the table; several sizes with commas between.")] = "10000,30000,100000",
    queries: Annotated[int, typer.Option(help="A fifth of them misread validation examples.")] = 1000,
    memory: Annotated[str, typer.Option(help="Address space of each stage, a hard limit.")] = "8GiB",
    threads: Annotated[int, typer.Option(help="Of each stage.")] = 2,
    until: Annotated[str, typer.Option(help="The last stage to run.")] = STAGES[-1],
    seed: Annotated[int, typer.Option(help="Of the table and the run.")] = 0,
    folder: Annotated[Path, typer.Option(help="Where the workspaces and what was measured lie.")] = WORK,
    output: Annotated[Path, typer.Option(help="Where the tables go.")] = ROOT / "benchmarks/results/soak.md",
) -> None:
    """CPU time, memory, bytes and files of every stage on synthetic tables. What was measured before is kept."""
    if until not in STAGES:
        raise typer.BadParameter(f"there is no stage {until!r}; there are {', '.join(STAGES)}")
    limit = parse_bytes(memory)
    for size in sorted(int(part) for part in rows.split(",")):
        soak(folder.resolve(), size, queries, limit, threads, STAGES[: STAGES.index(until) + 1], seed)
    text = write_report([json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")])
    write_text(output, text)
    print(text)


def soak(
    folder: Path, rows: int, queries: int, limit: int, threads: int, stages: tuple[str, ...], seed: int
) -> list[Cost]:
    """Run stages on a table of so many rows, and keep what they took as FOLDER/ROWS.json."""
    workspace = Workspace(folder / str(rows))
    shutil.rmtree(workspace.root, ignore_errors=True)
    workspace.root.mkdir(parents=True)
    table = workspace.root / "table.parquet"
    write_table(table, rows, seed)
    write_text(workspace.parameters, yaml.safe_dump(parameters(table.name, queries, seed), sort_keys=False))
    store.create(workspace)
    costs: list[Cost] = []
    failed = None
    for stage in stages:
        try:
            costs.append(run_stage(stage, workspace.root, table, limit, threads))
        except StageFailedError as error:
            failed = str(error)
            break
        print(f"{rows:,} rows: {costs[-1]}", flush=True)
    found = {
        "rows": rows,
        "queries": queries,
        "limit": limit,
        "threads": threads,
        "stages": [asdict(cost) for cost in costs],
        "failed": failed,
        "table": table.stat().st_size,
        "machine": f"{platform.machine()} CPU, {os.cpu_count()} cores, torch {torch.__version__}",
    }
    write_json(folder / f"{rows}.json", found)
    shutil.rmtree(workspace.root)
    if failed:
        raise SystemExit(failed)
    return costs


def parameters(table: str, queries: int, seed: int) -> dict[str, Any]:
    """The whole of params.yaml: the defaults for a table, but for what README advises for data of this size."""
    return {
        "seed": seed,
        "compute": {"device": "cpu", "memory_limit": "1GiB"},
        "prepare": {
            "path": table,
            "source": {"kind": "parquet", "label": "label", "id": "id", "slices": ["region"]},
            "validation": HELD_OUT * queries,
            "test": HELD_OUT * queries,
            "corruption": 0.05,
        },
        "train": {"factory": "mlp", "arguments": {"hidden": [32, 16]}, "epochs": 5, "batch_size": 256},
        "precondition": {
            "curvature_examples": 10_000,
            "damping": {"relative": 10.0},
            "queries": {"errors": queries // 5, "sample": queries - queries // 5},
        },
        "validate": {"subsets": 4, "seeds": 1},
    }
