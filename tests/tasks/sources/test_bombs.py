"""Files that would fill the memory are refused with a sentence before they do."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.errors import UserError
from tasks.sources.expanding import opened
from tasks.sources.parquet_size import require_bounded
from tasks.sources.picture import decode_pictures

MOST = 600  # MiB that may be taken over what the libraries take


def test_bombs_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    script = Path(__file__).with_name("bombs.py")
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert len(found) == 11
    for name, answer in found.items():
        peak, said = answer.split("\t")
        assert said.startswith("refused: ") and int(peak) < MOST, (name, answer)
    assert "decompression bomb" in found["csv_bomb"] and "decompression bomb" in found["zip_bomb"]
    assert "decompression bomb" in found["idx_bomb"] and "1,000,000 columns" in found["wide_header"]
    assert "becomes 1,0" in found["parquet_of_one_long_text"]


def test_a_sound_table_of_many_equal_values_is_none(tmp_path: Path) -> None:
    towns = pa.array(["Rome", "Oslo"]).take(pa.array(np.arange(300_000) // 150_000))
    pictures = pa.StructArray.from_arrays([pa.array([b"x" * 400] * 300_000), towns], ["bytes", "path"])
    columns = {"town": towns, "picture": pictures, "label": towns, "a.dot": pictures.field("bytes")}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    require_bounded(tmp_path / "a.parquet", ["town", "label"])
    for name in ("picture", "a.dot"):
        with pytest.raises(UserError, match="becomes 11"):  # 300,000 times 400 bytes, in a file of some kilobytes
            require_bounded(tmp_path / "a.parquet", [name])


def test_more_pictures_than_memory(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    files = [(tmp_path / "a.png").read_bytes()]
    with pytest.raises(UserError, match=r"do not fit into memory: set `prepare\.source\.size`"):
        decode_pictures(files, 10**13, lambda row: f"picture {row}", None, 3)


def test_an_archive_of_several_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("../../b.csv", "2")
    with pytest.raises(UserError, match="holds 2 files"), opened(tmp_path / "a.zip"):
        pass
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("../../b.csv", "2")
    with opened(tmp_path / "b.zip") as file:
        assert file.read() == b"2"  # read in place: nothing is unpacked anywhere
    assert not (tmp_path.parent.parent / "b.csv").exists()
