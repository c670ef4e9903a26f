"""What a frozen model saves: the gradient index beside exact explanations, and the shards that changed rows cost."""

import contextlib
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import typer
import yaml

from tasks import index, precondition, score
from tasks.artifacts import read_json, write_text
from tasks.explain import explain
from tasks.frozen import explain_frozen
from tasks.index import Index
from tasks.parameters import Parameters, load_parameters
from tasks.workspace import Workspace

ROOT = Path(__file__).parent.parent
WORK = ROOT / ".work/benchmarks/frozen"
NEEDED = ("params.yaml", "data/prepared", "model", "curvature", "validation")
QUERIES = 20  # test examples, each asked for alone
STAGES = (precondition, score, index)


def main(
    workspace: Annotated[Path, typer.Option(help="In which the pipeline has run; it is copied.")] = ROOT,
    coordinates: Annotated[str, typer.Option(help="Sizes of the index, commas between.")] = "64,256,1024,4096,16384",
    precision: Annotated[str, typer.Option(help="Types of a coordinate, commas between.")] = "int8,float16",
    changed: Annotated[str, typer.Option(help="Numbers of relabelled rows, commas between.")] = "1,10,100",
    shards: Annotated[str, typer.Option(help="score.shards, commas between.")] = "8,256",
    output: Annotated[Path, typer.Option(help="Where the tables go.")] = ROOT / "benchmarks/results/frozen.md",
) -> None:
    """Recall, bytes and seconds of gradient indices, and shards redone after rows were relabelled, at fixed weights."""
    torch.set_num_threads(1)
    sizes, counts, cuts = ([int(part) for part in text.split(",")] for text in (coordinates, changed, shards))
    with _copy(workspace):
        parts = [
            f"{pq.read_metadata(Workspace().split('train')).num_rows:,} training examples; {platform.machine()} CPU, "
            f"one thread, torch {torch.__version__}.",
            "\n".join(_indices(sizes, precision.split(","))),
            "\n".join(_changes(counts, cuts)),
        ]
    command = (
        f"python -m benchmarks frozen --coordinates {coordinates} --precision {precision} --changed {changed} "
        f"--shards {shards}"
    )
    text = "\n\n".join([*parts, f"Made by `{command}`.\n"])
    write_text(output, text)
    print(text)


@contextlib.contextmanager
def _copy(workspace: Path) -> Iterator[None]:
    """Work in a copy of what the stages have written."""
    shutil.rmtree(WORK, ignore_errors=True)
    for name in NEEDED:
        source, target = workspace / name, WORK / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    with contextlib.chdir(WORK):
        yield


def _parameters(**sections: dict[str, object]) -> Parameters:
    """Those of the workspace with other settings."""
    path = Workspace().parameters
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, settings in sections.items():
        content[name] = {**content.get(name, {}), **settings}
    write_text(path, yaml.safe_dump(content))
    return load_parameters(path)


def _indices(sizes: list[int], precisions: list[str]) -> Iterator[str]:
    """A table of indices of several sizes."""
    queries = pq.read_table(Workspace().split("test"), columns=["example_id"])["example_id"].to_pylist()[:QUERIES]
    parameters = _parameters()
    exact = _seconds(lambda: [explain(Workspace(), parameters, query) for query in queries[:3]]) / 3
    titles = ("coordinates", "type", "share of gradients", "bytes an example", "build, CPU s", "a query, s")
    recalls = ("recall@100 of this curvature's scores", "recall@100 of the run's scores")
    yield f"| {' | '.join((*titles, *recalls))} |"
    yield "|---|---|---|---|---|---|---|---|"
    for size in sizes:
        for precision in precisions:
            parameters = _parameters(index={"coordinates": size, "precision": precision})
            start = time.process_time()
            index.run(Workspace(), parameters)
            built = time.process_time() - start
            each = float(np.median([explain_frozen(Workspace(), parameters, query).seconds for query in queries]))
            found = Index(**read_json(Workspace().index))
            shares = list(found.recall.values())
            cells = [f"{found.coordinates:,}", precision, f"{found.share:.3f}", f"{found.bytes_per_example:,}"]
            cells += [f"{built:.1f}", f"{each:.3f}", f"{shares[0]:.3f}", f"{shares[-1]:.3f}"]
            yield f"| {' | '.join(cells)} |"
    yield ""
    yield (
        f"An exact explanation (`influence explain ID`) took {exact:.1f} s of the clock. Recall is of the 100 most "
        f"helpful and the 100 most harmful examples of each of the run's {found.queries} queries. This curvature is "
        f"{found.curvature}; the run's scores come from {list(found.recall)[-1]}."
    )


def _changes(counts: list[int], cuts: list[int]) -> Iterator[str]:
    """A table of the shards redone, and of the CPU time, after so many rows were relabelled."""
    names = [module.__name__.removeprefix("tasks.") for module in STAGES]
    yield "| changed | score.shards | " + " | ".join(f"{name}: shards redone, CPU s" for name in names) + " |"
    yield "|---|---|" + "---|" * len(names)
    path = Workspace().split("train")
    original = pq.read_table(path)
    for cut in cuts:
        parameters = _parameters(score={"shards": cut}, index={"coordinates": 1024, "precision": "int8"})
        yield _row("nothing yet", cut, parameters)
        for count in counts:
            pq.write_table(_relabelled(original, count), path)
            yield _row(f"{count} relabelled", cut, parameters)
            pq.write_table(original, path)
            for module in STAGES:
                module.run(Workspace(), parameters)
    pq.write_table(original.slice(1), path)
    yield f"| 1 row removed, curvature kept | {cuts[-1]} | | | {_redone(index, parameters)} |"
    yield _row("1 row removed", cuts[-1], parameters)
    pq.write_table(original, path)


def _row(title: str, cut: int, parameters: Parameters) -> str:
    return f"| {title} | {cut} | " + " | ".join(_redone(module, parameters) for module in STAGES) + " |"


def _redone(module: ModuleType, parameters: Parameters) -> str:
    folder = Workspace().work / module.__name__.removeprefix("tasks.")
    before, start = set(folder.glob("*/*.safetensors")), time.process_time()
    module.run(Workspace(), parameters)
    seconds, after = time.process_time() - start, set(folder.glob("*/*.safetensors"))
    return f"{len(after - before)} of {len(after)}, {seconds:.1f}"


def _relabelled(table: pa.Table, count: int) -> pa.Table:
    """With so many rows, drawn at random, bearing the next label."""
    labels = table["label"].to_pylist()
    classes = sorted(set(labels))
    for row in np.random.default_rng(0).choice(len(labels), count, replace=False):
        labels[row] = classes[(classes.index(labels[row]) + 1) % len(classes)]
    return table.set_column(table.schema.get_field_index("label"), "label", pa.array(labels))


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start
