"""What is found at a path, and what is said where nothing is."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.sniff import Hints, sniff
from tasks.errors import UserError

PROSE = "the film was long and the seats were hard but we laughed from the first scene to the very last one"


def picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def encoded(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_csv_table(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("age,job,label\n1,a,x\n2,b,y\n")
    data = sniff(file, Hints())
    assert (data.source, data.factory) == ({"kind": "csv", "label": "label"}, "logistic")
    data = sniff(file, Hints(label="job", identity="age", missing="impute"))
    assert data.source == {"kind": "csv", "label": "job", "id": "age", "missing": "impute"}


def test_a_csv_file_without_a_header(tmp_path: Path) -> None:
    file = tmp_path / "a.data"
    file.write_text("1, a\n2, b\n")
    data = sniff(file, Hints(label="y", columns=["x", "y"]))
    assert data.source == {"kind": "csv", "label": "y", "columns": ["x", "y"]}


def test_prose_is_text_and_short_values_are_not(tmp_path: Path) -> None:
    pq.write_table(pa.table({"where": ["a b", "c d"], "review": [PROSE, PROSE], "y": [0, 1]}), tmp_path / "a.parquet")
    data = sniff(tmp_path / "a.parquet", Hints())
    assert (data.source, data.factory) == ({"kind": "parquet", "label": "y", "text": "review"}, "text_linear")
    (tmp_path / "b.csv").write_text(f"label,note\n1,{PROSE}\n")
    assert sniff(tmp_path / "b.csv", Hints()).source["text"] == "note"


def test_encoded_images_in_a_table(tmp_path: Path) -> None:
    images = [{"bytes": encoded(size), "path": "x"} for size in ((32, 32), (40, 30))]
    pq.write_table(pa.table({"image": images, "label": ["a", "b"]}), tmp_path / "a.parquet")
    data = sniff(tmp_path / "a.parquet", Hints())
    expected = {"kind": "parquet", "label": "label", "image": "image", "size": [64, 64], "channels": 3}
    assert (data.source, data.factory) == (expected, "cnn")


def test_a_folder_of_images(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/2.png"):
        picture(tmp_path / "same" / name, (28, 28), "L")
        picture(tmp_path / "mixed" / name, (20 + len(list(tmp_path.rglob("*.png"))), 30))
    assert sniff(tmp_path / "same", Hints()).source == {"kind": "image_folder", "channels": 1}
    assert sniff(tmp_path / "mixed", Hints()).source == {"kind": "image_folder", "size": [64, 64], "channels": 3}


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        (Hints(), "which column is the label.*age, job"),
        (Hints(label="lable"), "--label: .* has no column 'lable'; its columns are age, job"),
        (Hints(label="job", identity="key"), "--id: .* has no column 'key'"),
        (Hints(label="job", image="age"), "--image: a CSV file cannot hold images"),
        (Hints(label="job", missing="guess"), "--missing: write error or impute"),
        (Hints(label="job", columns=["a"]), "has 2 columns"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, hints: Hints, message: str) -> None:
    (tmp_path / "a.csv").write_text("age,job\n1,a\n")
    with pytest.raises(UserError, match=message):
        sniff(tmp_path / "a.csv", hints)


def test_what_is_no_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        sniff(tmp_path / "nothing.csv", Hints())
    with pytest.raises(UserError, match="neither IDX files nor sub-folders of images"):
        sniff(tmp_path, Hints())
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(UserError, match="is not a readable Parquet file"):
        sniff(tmp_path / "a.parquet", Hints(label="y"))
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"a\.bin"):
        sniff(tmp_path / "a.bin", Hints(label="y"))
    picture(tmp_path / "p/cat/1.png", (8, 8))
    with pytest.raises(UserError, match="are for tables"):
        sniff(tmp_path / "p", Hints(label="y"))
