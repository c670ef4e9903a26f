"""Small workspaces as prepare leaves them, for the tests of the stages after it."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from tasks import precondition, score, train
from tasks.artifacts import APPLIED, SPARSE, Encoding, prepared_schema, write_json, write_table
from tasks.workspace import SPLITS, Workspace

sys.path.insert(0, str(Path(__file__).parent))  # for `dense_system` and `stage_runner`

WIDTHS = {"image": (1, 8, 8), "table": (6,), "text": (40,)}


def write_prepared(
    root: Path,
    kind: str = "image",
    count: int = 120,
    held_out: int = 40,
    classes: int = 3,
    flipped: float = 0.0,
    shape: tuple[int, ...] | None = None,
    seed: int = 0,
    **sections: dict[str, Any],
) -> Workspace:
    """Write data/prepared and params.yaml: examples scattered around one random centre a class.

    Args:
        root: the workspace's folder.
        kind: image, table or text.
        count: examples in the training split.
        held_out: examples in each of the others.
        classes: how many.
        flipped: share of training labels moved on to the next class; their ids end in `-flipped`.
        shape: of one input; None: 1 x 8 x 8, 6 numbers, 40 words.
        seed: of everything.
        sections: of params.yaml, such as `train={"epochs": 3}`.
    """
    workspace = Workspace(root)
    rng = np.random.default_rng(seed)
    shape = shape or WIDTHS[kind]
    names = [f"class {index}" for index in range(classes)]
    centres = rng.normal(size=(classes, *shape))
    for split in SPLITS:
        size = count if split == "train" else held_out
        true = rng.integers(classes, size=size)
        wrong = (rng.random(size) < flipped) & (split == "train")
        labels = [names[(index + moved) % classes] for index, moved in zip(true, wrong, strict=True)]
        ids = [f"{split}-{i:04d}{'-flipped' if moved else ''}" for i, moved in enumerate(wrong)]
        values = centres[true] + 0.5 * rng.normal(size=(size, *shape))
        inputs = _column(kind, values)
        columns = {
            "example_id": ids,
            "input": inputs,
            "display": _rows(values) if kind == "table" else pa.nulls(size, pa.string()),
            "label": labels,
            "given_label": labels,
        }
        write_table(workspace.split(split), pa.table(columns), prepared_schema(inputs.type))
    details: dict[str, Any] = {}
    if kind == "image":
        details = {"mean": [0.5] * shape[0], "std": [0.25] * shape[0]}
    if kind == "table":
        details = {"columns": [{"name": f"x{place}", "kind": "numeric"} for place in range(shape[0])]}
    write_json(workspace.encoding, asdict(Encoding(kind, names, shape, details)))
    write_table(workspace.applied_verdicts, APPLIED.empty_table(), APPLIED)
    source = {"kind": "csv", "label": "label"}
    content = {"prepare": {"path": "data.csv", "source": source}, **sections}
    workspace.parameters.write_text(yaml.safe_dump(content), encoding="utf-8")
    return workspace


def _rows(values: np.ndarray) -> list[str]:
    return [json.dumps({f"x{place}": value for place, value in enumerate(row)}) for row in values.tolist()]


def _column(kind: str, values: np.ndarray) -> pa.Array:
    if kind == "image":
        values = np.clip(128 + 64 * values, 0, 255).astype(np.uint8)
    if kind == "text":
        values = np.where(values > 0, values, 0)
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
        rows = [
            {"indices": np.flatnonzero(row).tolist(), "values": row[row > 0].astype(np.float32).tolist()}
            for row in values
        ]
        return pa.array(rows, SPARSE)
    flat = np.ascontiguousarray(values, np.uint8 if kind == "image" else np.float32).reshape(-1)
    column_type = pa.fixed_shape_tensor(pa.from_numpy_dtype(flat.dtype), values.shape[1:])
    storage = pa.FixedSizeListArray.from_arrays(pa.array(flat), int(np.prod(values.shape[1:])))
    return pa.ExtensionArray.from_storage(column_type, storage)


@pytest.fixture(scope="session")
def make_prepared() -> Callable[..., Workspace]:
    """`write_prepared`, for tests: make_prepared(tmp_path, kind="table", train={"epochs": 3})."""
    return write_prepared


# Small enough for a dense oracle, solved far enough to be compared with it.
SECTIONS: dict[str, Any] = {
    "compute": {"device": "cpu"},
    "train": {"factory": "mlp", "arguments": {"hidden": [8], "activation": "tanh"}, "epochs": 6, "batch_size": 16},
    "precondition": {"tolerance": 1e-4, "max_iterations": 300, "queries": {"errors": 4, "sample": 6}},
    "score": {"k": 7, "shards": 3},
    "flag": {"inspect": 0.1, "neighbours": 7, "evidence": 4},
}


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workspace in which train, precondition and score have run; to be read, or copied and changed."""
    from stage_runner import run_in

    root = tmp_path_factory.mktemp("scored")
    write_prepared(root, kind="table", count=150, held_out=60, classes=4, flipped=0.1, seed=2, **SECTIONS)
    for stage in (train.run, precondition.run, score.run):
        run_in(root, stage)
    return root


@pytest.fixture
def copy_scored(scored: Path, tmp_path: Path) -> Callable[..., Workspace]:
    """`copy_scored("name", score={"shards": 5})`: a copy of the scored workspace, with other parameters."""

    def copy(name: str, **sections: dict[str, Any]) -> Workspace:
        workspace = Workspace(tmp_path / name)
        shutil.copytree(scored, workspace.root)
        content = yaml.safe_load(workspace.parameters.read_text(encoding="utf-8"))
        for section, changes in sections.items():
            content[section] = {**content[section], **changes}
        workspace.parameters.write_text(yaml.safe_dump(content), encoding="utf-8")
        return workspace

    return copy


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[..., Workspace]:
    """`make_workspace(kind=..., train=...)` writes all that the report reads; see reporting/synthetic_artifacts.py."""
    module = "synthetic_artifacts"
    if module not in sys.modules:
        spec = importlib.util.spec_from_file_location(module, Path(__file__).parent / "reporting" / f"{module}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module])
    made = sys.modules[module]

    def make(folder: str = "workspace", **recipe: Any) -> Workspace:
        return made.build_workspace(tmp_path / folder, made.Recipe(**recipe))

    return make
