"""Experiments in small, on pictures that ship with the repository."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from tasks.experiments import mnist
from tasks.experiments.experiment import DATA, perform
from tasks.parameters import IdxSource
from tasks.sources import idx

CLOTHING = Path(__file__).parents[3] / "data/raw/fashion_mnist"
SIDE, SHRINK = 28, 4  # pixels; every SHRINK x SHRINK become one


@pytest.fixture
def clothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`clothing(train=600, test=200)`: a data root whose MNIST is small pictures of clothing."""

    def write(train: int, test: int) -> Path:
        examples = idx.read(IdxSource(kind="idx"), CLOTHING)
        tiles = np.asarray(examples.inputs).reshape(-1, SIDE // SHRINK, SHRINK, SIDE // SHRINK, SHRINK)
        pictures, labels = tiles.mean(axis=(2, 4)).astype(np.uint8), np.array(examples.labels, np.uint8)
        folder = tmp_path / "data/mnist"
        folder.mkdir(parents=True)
        for prefix, part in (("train", slice(train)), ("t10k", slice(train, train + test))):
            for kind, values in (("images-idx3", pictures[part]), ("labels-idx1", labels[part])):
                header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
                (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + values.tobytes(), 1))
        monkeypatch.setattr(mnist, "VALIDATION", 0)
        return folder.parent

    return write


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """`measured(components, root, test_point=3)`: run an experiment on a data root; what its metrics.json holds."""

    def run(module: ModuleType, root: Path, **parameters: Any) -> dict[str, Any]:
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setenv(DATA, str(root))
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({name: parameters}))
        perform(tmp_path, name, module.Parameters, module.run)
        for kind in ("svg", "png"):
            assert (tmp_path / name / f"figure.{kind}").stat().st_size > 10_000
        found: dict[str, Any] = json.loads((tmp_path / name / "metrics.json").read_text())
        return found

    return run
