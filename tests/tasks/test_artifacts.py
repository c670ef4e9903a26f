"""Files appear whole or not at all, with exactly their schema, and their bytes depend on their content alone."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.artifacts import (
    PROVENANCE,
    atomic_write,
    content_hash,
    fingerprint,
    provenance,
    read_json,
    read_table,
    write_json,
    write_table,
)
from tasks.errors import UserError

SCHEMA = pa.schema([("id", pa.string()), ("value", pa.float32()), ("list", pa.list_(pa.float32()))])


def table(value: float = 1.0, inside: float = 2.0) -> pa.Table:
    return pa.table({"list": [[inside], [1.0, 2.0]], "id": ["a", "b"], "value": [0.5, value], "other": [1, 2]})


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder/x.txt"

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert list(path.parent.iterdir()) == []
    atomic_write(path, lambda temporary: temporary.write_text("whole"))
    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert [(entry.name, entry.read_text()) for entry in path.parent.iterdir()] == [("x.txt", "whole")]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_table_has_exactly_its_schema_and_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, table(), SCHEMA, {b"note": {"b": 1, "a": [2]}})
    read = read_table(path)
    assert read.schema.remove_metadata() == SCHEMA
    assert read.schema.metadata[b"note"] == b'{"a": [2], "b": 1}'
    assert read["value"].to_pylist() == [0.5, 1.0]
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    first = path.read_bytes()
    write_table(path, table(), SCHEMA, {b"note": {"a": [2], "b": 1}})
    assert path.read_bytes() == first


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["value", "list"])
def test_what_is_not_finite_is_refused(tmp_path: Path, bad: float, place: str) -> None:
    broken = table(value=bad) if place == "value" else table(inside=bad)
    with pytest.raises(ValueError, match=rf"x\.parquet: column {place} .* holds NaN or infinity"):
        write_table(tmp_path / "x.parquet", broken, SCHEMA)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": bad})
    assert list(tmp_path.iterdir()) == []


def test_row_groups_stay_small(tmp_path: Path) -> None:
    many = pa.table({"id": ["x"] * 20_000, "value": np.zeros(20_000), "list": [[0.0]] * 20_000})
    write_table(tmp_path / "x.parquet", many, SCHEMA)
    metadata = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [8192, 8192, 3616]


@pytest.mark.parametrize("read", [read_table, read_json])
def test_a_missing_file_names_what_to_run(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(UserError, match=r"x is missing: run its stage with `influence run` or `dvc repro`"):
        read(tmp_path / "x")


def test_a_damaged_table_says_how_to_restore_it(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, table(), SCHEMA)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"x\.parquet is damaged .*`dvc checkout` or rerun its stage"):
        read_table(path)


def test_the_hash_of_a_folder_follows_names_and_contents(tmp_path: Path) -> None:
    def make(name: str, files: dict[str, str]) -> str:
        for file, content in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(content)
        return content_hash(tmp_path / name)

    first = make("one", {"a": "1", "b/c": "2"})
    assert make("two", {"b/c": "2", "a": "1"}) == first
    assert len({first, make("3", {"a": "1", "b/c": "3"}), make("4", {"a": "1", "c": "2"}), make("5", {"a": "12"})}) == 4
    assert content_hash(tmp_path / "one/a") == hashlib.sha256(b"1").hexdigest()


def test_provenance_and_fingerprint_follow_parameters_and_contents(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("1")
    first = provenance("score", {"k": 3}, [path])
    assert first == provenance("score", {"k": 3}, [path])
    assert first[PROVENANCE]["parameters"] == {"k": 3}
    assert first[PROVENANCE]["inputs"] == {path.as_posix(): content_hash(path)}
    path.write_text("2")
    assert provenance("score", {"k": 3}, [path]) != first
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert len({fingerprint(1, 2), fingerprint(2, 1), fingerprint([1, 2]), fingerprint("1", 2), fingerprint(12)}) == 5
