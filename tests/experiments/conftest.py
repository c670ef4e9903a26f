"""Experiments in small, on pictures that ship with the repository."""

import gzip
import io
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # experiments are not installed with the package

from experiments.common import mnist
from experiments.common.experiment import DATA, perform
from tasks.parameters import IdxSource
from tasks.sources import idx

CLOTHING = Path(__file__).parents[2] / "data/raw/fashion_mnist"
SIDE, SHRINK = 28, 4  # pixels; every SHRINK x SHRINK become one, if nothing else is said


@pytest.fixture
def clothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`clothing(train=600, test=200)`: a data root whose MNIST is small pictures of clothing."""

    def write(train: int, test: int, shrink: int = SHRINK) -> Path:
        examples = idx.read(IdxSource(kind="idx"), CLOTHING)
        tiles = np.asarray(examples.inputs).reshape(-1, SIDE // shrink, shrink, SIDE // shrink, shrink)
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
def photographs(tmp_path: Path) -> Callable[..., Path]:
    """`photographs(train=60, test=20)`: a data root whose fish are trousers and whose dogs are shirts, in two tints."""

    def write(train: int, test: int) -> Path:
        examples = idx.read(IdxSource(kind="idx"), CLOTHING)
        fish, dogs = ([i for i, label in enumerate(examples.labels) if label == kind] for kind in "16")
        mixed = [row for pair in zip(fish, dogs, strict=False) for row in pair][: train + test]
        folder = tmp_path / "data/dogfish"
        folder.mkdir(parents=True)
        for name, rows in (("train", mixed[:train]), ("test", mixed[train:])):
            pictures = [np.asarray(examples.inputs)[row, 0] for row in rows]
            columns = {
                "source_path": [f"{name}/{row}.png" for row in rows],
                "label": pa.array([int(row in dogs) for row in rows], pa.int8()),
                "image": [_png(picture, picture // 2, 255 - picture) for picture in pictures],
            }
            pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        return folder.parent

    return write


def _png(*channels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=-1)).save(file, "PNG")
    return file.getvalue()


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
