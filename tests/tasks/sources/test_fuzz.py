"""Readers fed with hostile files answer with data or with one sentence, never with another exception.

INFLUENCE_FUZZ_EXAMPLES=5000 pytest tests/tasks/sources/test_fuzz.py looks longer, at new examples each time.
"""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))  # for `hostile`
from hostile import csv_bytes, fuzzed, harmed, idx_bytes, outcome, parquet_bytes, picture_bytes

from flows.sniff import Hints, sniff
from tasks.parameters import IdxSource, ImageFolderSource, Source, TableSource, load_parameters
from tasks.sources import Examples, read

FORMS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
PARAMETERS = b"""seed: 0
prepare: {path: data.csv, source: {kind: csv, label: y, features: [a, b]}, corruption: 0.1, classes: [x, y]}
train: {factory: mlp, arguments: {hidden: [8]}, learning_rate: 1.0e-2, epochs: 3}
precondition: {damping: {relative: 0.1}, queries: {errors: 3}}
flag: {inspect: "5 %"}
anchor: &a [1, 2]
again: *a
"""


def check(source: Source, path: Path) -> None:
    """Read what lies at the path; where that succeeds, what was read must fit together."""
    examples = outcome(lambda: read(source, path))
    if examples is not None:
        assert isinstance(examples, Examples) and len(examples.inputs) == len(examples.labels) > 0
        assert all(isinstance(label, str) and label for label in examples.labels)
        assert examples.origin(len(examples) - 1)


@given(content=harmed(csv_bytes()))
@fuzzed(60)
@pytest.mark.parametrize("more", [{}, {"id": "id"}, {"text": "town"}, {"columns": ["a", "b", "c", "label"]}])
def test_csv(tmp_path: Path, content: bytes, more: dict) -> None:
    for suffix in ("", ".gz", ".zip", ".xz", ".bz2", ".zst"):
        path = tmp_path / f"data.csv{suffix}"
        path.write_bytes(content)
        check(TableSource(kind="csv", label="label", missing="impute", **more), path)


@given(content=harmed(parquet_bytes(), parquet_bytes("none"), parquet_bytes("zstd")))
@fuzzed(100)
@pytest.mark.parametrize("more", [{"ignore": ["picture"]}, {"id": "id", "image": "picture"}, {"text": "town"}])
def test_parquet(tmp_path: Path, content: bytes, more: dict) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(content)
    check(TableSource(kind="parquet", label="label", missing="impute", **more), path)


@given(images=harmed(idx_bytes(6, 2, 2)), labels=harmed(idx_bytes(6)), harm=st.sampled_from(["images", "labels"]))
@fuzzed(100)
def test_idx(tmp_path: Path, images: bytes, labels: bytes, harm: str) -> None:
    (tmp_path / "a-images-idx3-ubyte").write_bytes(images if harm == "images" else idx_bytes(6, 2, 2))
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(labels if harm == "labels" else idx_bytes(6))
    check(IdxSource(kind="idx"), tmp_path)


@given(content=harmed(*map(picture_bytes, FORMS), picture_bytes("PNG", "P"), picture_bytes("TIFF", "CMYK")))
@fuzzed(200)
def test_pictures(tmp_path: Path, content: bytes) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "a.png").write_bytes(picture_bytes("PNG"))
    (tmp_path / "y/b.png").write_bytes(content)
    check(ImageFolderSource(kind="image_folder", size=(4, 4)), tmp_path)


@given(content=harmed(PARAMETERS))
@fuzzed(150)
def test_parameters(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    outcome(lambda: load_parameters(path))


@given(
    content=harmed(csv_bytes(), parquet_bytes(), picture_bytes("PNG")),
    name=st.sampled_from(["a.csv", "a.parquet", "a.csv.gz", "x/a.png"]),
)
@fuzzed(150)
def test_init_looks_at_anything(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    outcome(lambda: sniff(path if path.parent == tmp_path else tmp_path, Hints()))
