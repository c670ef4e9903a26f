"""How many planted label errors each signal finds, over several seeds of split, errors, model and ranking."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from tasks.artifacts import read_json, write_text
from tasks.workspace import Workspace

ROOT = Path(__file__).parent.parent
STAGES = ("prepare", "train", "precondition", "score", "flag", "report")
SIGNALS = ("flags", "loss", "margin", "mean_margin", "self_influence", "neighbours", "random")
MEASURES = {"recall_5": "found at 5 %", "recall_10": "found at 10 %", "auroc": "AUROC", "average_precision": "AP"}


def main(
    data: Annotated[str, typer.Option(help="What prepare.path is to be.")] = "data/raw/fashion_mnist",
    corruption: Annotated[float, typer.Option(help="Share of training labels changed.")] = 0.05,
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 5,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = ROOT / "benchmarks/results/detection.md",
) -> None:
    """Planted errors found by the flags and by each signal alone, mean and standard error over seeds."""
    runs = []
    for seed in range(seeds):
        runs.append(_run(data, corruption, seed))
        print(f"seed {seed}: " + ", ".join(f"{s} {runs[-1][s]['average_precision']:.3f}" for s in SIGNALS), flush=True)
    command = f"python -m benchmarks detection --data {data} --corruption {corruption} --seeds {seeds}"
    text = f"{_heading(runs, corruption)}\n\n{_table(runs)}\n\nMade by `{command}`.\n"
    write_text(output, text)
    print(text)


def _run(data: str, corruption: float, seed: int) -> dict[str, Any]:
    """Run every stage in a workspace of its own and return what the report measured."""
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    parameters["seed"] = seed
    parameters["prepare"] |= {"path": str((ROOT / data).resolve()), "corruption": corruption}
    parameters["precondition"]["queries"] = {"errors": 1, "sample": 0}  # the flags do not depend on the queries
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        workspace.parameters.write_text(yaml.safe_dump(parameters), encoding="utf-8")
        for stage in STAGES:
            subprocess.run(
                [sys.executable, "-I", "-m", f"tasks.{stage}"], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )
        found: dict[str, Any] = read_json(workspace.report_metrics)
        found["model"] = read_json(workspace.model_metrics)
    return found


def _heading(runs: list[dict[str, Any]], corruption: float) -> str:
    accuracy = np.array([run["model"]["test"]["accuracy"] for run in runs])
    expected, planted = (np.mean([run[key] for run in runs]) for key in ("expected_errors", "planted_flagged"))
    return (
        f"{runs[0]['training_examples']:,} training examples, {runs[0]['planted']:,} labels changed "
        f"({corruption:.0%}), {len(runs)} seeds; test accuracy {accuracy.mean():.3f}. Mean and standard error. "
        f"Of {runs[0]['flagged']} flagged, {planted:.0f} were planted; their error "
        f"probabilities added up to {expected:.0f}."
    )


def _table(runs: list[dict[str, Any]]) -> str:
    rows = ["| signal | " + " | ".join(MEASURES.values()) + " |", "|---|" + "---|" * len(MEASURES)]
    for signal in SIGNALS:
        cells = []
        for measure in MEASURES:
            values = np.array([run[signal][measure] for run in runs])
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
            cells.append(f"{values.mean():.3f} ± {error:.3f}")
        rows.append(f"| {signal.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(rows)
