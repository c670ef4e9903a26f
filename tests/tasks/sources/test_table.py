import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.errors import UserError
from tasks.parameters import TableSource
from tasks.sources import Examples, read

CSV = "id,age,job,income\n007,39,clerk,low\n008,50, boss,high\n009,38,clerk,low\n"


def csv(path: Path, content: str = CSV, /, **source: object) -> Examples:
    file = path / "data.csv"
    file.write_text(content, encoding="utf-8")
    return read(TableSource(kind="csv", **{"label": "income", **source}), file)  # type: ignore[arg-type]


def parquet(path: Path, columns: dict[str, object], /, **source: object) -> Examples:
    file = path / "data.parquet"
    pq.write_table(pa.table(columns), file)
    return read(TableSource(kind="parquet", **{"label": "label", **source}), file)  # type: ignore[arg-type]


def png(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (3, 2), colour).save(buffer, "PNG")
    return buffer.getvalue()


def frame(examples: Examples) -> pd.DataFrame:
    assert isinstance(examples.inputs, pd.DataFrame)
    return examples.inputs


def test_csv(tmp_path: Path) -> None:
    examples = csv(tmp_path, id="id", slices=["job"])
    assert examples.ids == ["007", "008", "009"]  # not 7, 8, 9
    assert examples.labels == ["low", "high", "low"]
    assert examples.slices == {"job": ["clerk", "boss", "clerk"]}
    assert frame(examples).to_dict("list") == {"age": ["39", "50", "38"]}
    assert examples.origin(1) == f"data row 2 of {tmp_path / 'data.csv'}"


def test_a_slice_may_be_a_feature_too(tmp_path: Path) -> None:
    examples = csv(tmp_path, slices=["job"], features=["job", "age"])
    assert frame(examples).columns.tolist() == ["job", "age"]


def test_csv_without_a_header_compressed_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "data.csv.gz"
    file.write_bytes(gzip.compress("\ufeff1, NA, x\n2,3,y\n\n".encode()))
    source = TableSource(kind="csv", columns=["a", "b", "label"], label="label", missing="impute")
    examples = read(source, file)
    assert examples.labels == ["x", "y"]
    assert frame(examples)["a"].tolist() == ["1", "2"]
    assert frame(examples)["b"].isna().tolist() == [True, False]


def test_text_may_be_empty_and_is_taken_literally(tmp_path: Path) -> None:
    examples = csv(tmp_path, 'income,text\nlow,NA\nhigh,""\n', text="text")
    assert examples.inputs == ["NA", ""]


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        (
            CSV,
            {"label": "Income"},
            "no column 'Income', which `prepare.source` names: its columns are id, age, job, inc",
        ),
        (CSV, {"ignore": ["salary"]}, "no column 'salary'"),
        (CSV, {"features": ["age", "income"]}, "`prepare.source.features` names the label 'income'"),
        (CSV, {"features": []}, "no columns left for features"),
        (CSV, {"image": "job"}, "images cannot lie in a CSV file"),
        (CSV, {"columns": ["a", "b"], "label": "a"}, "has 4 columns but `prepare.source.columns` names 2"),
        (CSV.replace("50", ""), {}, "missing value in column 'age' of data row 2 of"),
        (CSV.replace("50", "NaN"), {}, "set `missing: impute` in `prepare.source`"),
        (CSV.replace("high", ""), {}, "missing label in column 'income' of data row 2 of"),
        (CSV.replace("009", ""), {"id": "id"}, "missing id in column 'id' of data row 3 of"),
        (CSV.replace("age", "job"), {}, "more than one column 'job'"),
        (CSV + "1,2,3,4,5\n", {}, "not a sound CSV file: Expected 4 fields in line 5, saw 5"),
        ("id,age,job,income\n", {}, "holds no rows"),
        ("", {}, "is empty"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, source: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        csv(tmp_path, text, **source)
    assert message in str(caught.value)


def test_csv_that_is_not_text_of_this_time(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes("name,income\nJosé,low\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"data.csv is not UTF-8"):
        read(TableSource(kind="csv", label="income"), file)
    broken = tmp_path / "data.csv.gz"
    broken.write_bytes(gzip.compress(CSV.encode())[:-12])
    with pytest.raises(UserError, match=r"data.csv.gz cannot be read"):
        read(TableSource(kind="csv", label="income"), broken)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing.csv does not exist: `prepare.path`"):
        read(TableSource(kind="csv", label="income"), tmp_path / "nothing.csv")


def test_parquet_keeps_the_types_of_its_columns(tmp_path: Path) -> None:
    columns = {
        "key": pa.array([1, 2, 3], pa.int32()),
        "label": [3.0, 4.0, 3.0],
        "age": [39, None, 38],
        "zip": ["01234", "56789", "01234"],
        "town": pa.array(["a", "b", "a"]).dictionary_encode(),
        "code": [1, 2, 1],
        "member": [True, False, True],
    }
    examples = parquet(tmp_path, columns, id="key", missing="impute", categorical=["code"])
    assert examples.ids == ["1", "2", "3"]
    assert examples.labels == ["3", "4", "3"]
    dtypes = {name: str(dtype) for name, dtype in frame(examples).dtypes.items()}
    assert [dtypes[name] for name in ("age", "zip", "town", "code", "member")] == [
        "Int64",
        *["category"] * 3,
        "int8",
    ]


def test_parquet_images(tmp_path: Path) -> None:
    plain = parquet(tmp_path, {"label": ["a", "b"], "image": [png(1), png(2)]}, image="image", channels=1)
    structs = [{"bytes": png(1), "path": "1.png"}, {"bytes": png(2), "path": None}]
    nested = parquet(tmp_path, {"label": ["a", "b"], "image": structs}, image="image", channels=1)
    for examples in (plain, nested):
        assert isinstance(examples.inputs, np.ndarray)
        assert examples.inputs.shape == (2, 1, 2, 3)
        assert examples.inputs[:, 0, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("columns", "source", "message"),
    [
        ({"x": [1.0, 2.0]}, {}, "no column 'label'"),
        ({"label": ["a", None], "x": [1.0, 2.0]}, {}, "missing label in column 'label' of row 2 of"),
        ({"label": [1.0, float("nan")], "x": [1.0, 2.0]}, {}, "missing label in column 'label' of row 2 of"),
        ({"label": ["a", "b"], "x": [float("nan"), 2.0]}, {}, "missing value in column 'x' of row 1 of"),
        ({"label": ["a", "b"], "x": [[1], [2]]}, {}, "column 'x' of"),
        ({"label": ["a", "b"], "x": ["t", None]}, {"text": "x"}, "missing text in column 'x' of row 2 of"),
        ({"label": ["a", "b"], "x": [1, 2]}, {"text": "x"}, "has type int64: text is needed"),
        ({"label": ["a", "b"], "x": [1, 2]}, {"image": "x"}, "the bytes of picture files are needed"),
        ({"label": ["a", "b"], "x": [b"no", b"png"]}, {"image": "x"}, "row 1 of"),
        (
            {"label": ["a", "b"], "x": [None, png(1)]},
            {"image": "x"},
            "missing image in column 'x' of row 1 of",
        ),
        ({"label": pa.array([], pa.string()), "x": pa.array([], pa.int8())}, {}, "holds no rows"),
    ],
)
def test_bad_parquet(tmp_path: Path, columns: dict, source: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parquet(tmp_path, columns, **source)
    assert message in str(caught.value)
    assert str(tmp_path / "data.parquet") in str(caught.value)


def test_a_file_that_is_not_parquet(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    file.write_text(CSV)
    with pytest.raises(UserError, match=r"data.parquet is not a readable Parquet file"):
        read(TableSource(kind="parquet", label="income"), file)
