"""What a file says of its own making."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tasks.artifacts import PROVENANCE, TRUTH, provenance, write_table
from tasks.errors import UserError
from tasks.provenance import read_origin, write_page
from tasks.tensors import write_tensors
from tasks.workspace import Workspace

ROWS = {"example_id": ["a"], "true_label": ["x"], "planted": [False]}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Parquet file made from a file and a folder, as a stage makes it: with the workspace as its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/one").write_text("1")
    (tmp_path / "raw.csv").write_text("x")
    origin = provenance("prepare", {"seed": 3}, [Path("raw.csv"), Path("folder")])
    write_table(tmp_path / "out.parquet", pa.table(ROWS), TRUTH, origin)
    write_tensors(tmp_path / "out.safetensors", {"a": torch.ones(1)}, {key.decode(): v for key, v in origin.items()})
    return tmp_path


@pytest.mark.parametrize("suffix", ["parquet", "safetensors"])
def test_stage_parameters_versions_and_inputs_as_they_are_now(written: Path, suffix: str) -> None:
    path = written / f"out.{suffix}"
    origin = read_origin(written, path)
    assert origin is not None and origin.stage == "prepare" and origin.parameters == {"seed": 3}
    assert origin.versions["torch"] == torch.__version__ and "influence-pipeline" in origin.versions
    assert {each.path: each.now for each in origin.inputs} == {"folder": "same", "raw.csv": "same"}
    (written / "folder/two").write_text("2")
    (written / "raw.csv").unlink()
    again = read_origin(written, path)
    assert again is not None
    assert {each.path: each.now for each in again.inputs} == {"folder": "changed", "raw.csv": "missing"}
    assert [each.content for each in again.inputs] == [each.content for each in origin.inputs]


def test_other_files_say_nothing(written: Path) -> None:
    pq.write_table(pa.table(ROWS), written / "plain.parquet")
    write_tensors(written / "plain.safetensors", {"a": torch.ones(1)})
    for name in ("plain.parquet", "plain.safetensors", "raw.csv"):
        assert read_origin(written, written / name) is None


def test_a_page_says_it_in_a_comment_that_data_cannot_end(scored: Path, tmp_path: Path) -> None:
    hostile = "--><script>alert(1)</script>"
    page = tmp_path / "explain/a.html"
    write_page(page, "<html></html>", "influence explain", {"query": hostile}, scored, [Workspace(scored)])
    text = page.read_text()
    assert text.startswith("<html></html>\n<!-- ") and text.count("-->") == 1 and "<script" not in text
    origin = read_origin(scored, page)
    assert origin is not None and origin.stage == "influence explain" and origin.parameters == {"query": hostile}
    assert {each.now for each in origin.inputs} == {"same"}
    assert "model/weights.safetensors" in {each.path for each in origin.inputs}
    page.write_text("<!-- influence.provenance {} -->\n<html></html>")
    assert read_origin(scored, page) is None  # not at the end: of somebody else


@pytest.mark.parametrize("record", [b"[1]", b'{"stage": "x"}', b"nonsense"])
def test_a_record_of_another_form_is_one_sentence(tmp_path: Path, record: bytes) -> None:
    pq.write_table(pa.table(ROWS).replace_schema_metadata({PROVENANCE: record}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"x\.parquet"):
        read_origin(tmp_path, tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["x.parquet", "x.safetensors"])
def test_a_damaged_or_missing_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is not there"):
        read_origin(tmp_path, tmp_path / name)
    (tmp_path / name).write_bytes(b"PAR1 and so on")
    with pytest.raises(UserError, match=r"damaged|cannot be read"):
        read_origin(tmp_path, tmp_path / name)
