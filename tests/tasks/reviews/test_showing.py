"""Examples as a reviewer sees them."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.artifacts import read_table
from tasks.errors import UserError
from tasks.reviews.content import contents
from tasks.reviews.showing import PICTURE_SIDE, load_shown
from tasks.workspace import Workspace

MakePrepared = Callable[..., Workspace]


def test_an_image_comes_with_its_label_and_content(make_prepared: MakePrepared, tmp_path: Path) -> None:
    workspace = make_prepared(tmp_path)
    table = read_table(workspace.split("train"))
    ids = table["example_id"].to_pylist()
    shown = load_shown(workspace, {"train": [ids[5], ids[70]], "test": ["gone"], "validation": []})
    assert shown.keys() == {ids[5], ids[70]}
    one = shown[ids[70]]
    assert (one.label, one.content) == (table["label"][70].as_py(), contents(table)[70])
    assert one.picture is not None and (one.picture.width, one.picture.height) == (8, 8)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(one.picture.uri.split(",")[1]))))
    assert (pixels == table["input"][70].to_numpy()[0]).all()


def test_a_large_image_is_reduced(make_prepared: MakePrepared, tmp_path: Path) -> None:
    workspace = make_prepared(tmp_path, shape=(3, 300, 600), count=2, held_out=1)
    [name, _] = read_table(workspace.split("train"))["example_id"].to_pylist()
    picture = load_shown(workspace, {"train": [name]})[name].picture
    assert picture is not None and (picture.width, picture.height) == (PICTURE_SIDE, PICTURE_SIDE // 2)


def test_a_row_comes_as_read(make_prepared: MakePrepared, tmp_path: Path) -> None:
    workspace = make_prepared(tmp_path, kind="table")
    [shown] = load_shown(workspace, {"test": ["test-0003"]}).values()
    assert shown.picture is None and shown.row is not None
    assert [name for name, _ in shown.exhibit.fields] == list(shown.row) == [f"x{place}" for place in range(6)]


def test_a_missing_split_is_told(make_prepared: MakePrepared, tmp_path: Path) -> None:
    workspace = make_prepared(tmp_path)
    workspace.split("test").unlink()
    with pytest.raises(UserError, match=r"test\.parquet is missing"):
        load_shown(workspace, {"test": ["test-0003"]})
    workspace.split("test").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="is damaged"):
        load_shown(workspace, {"test": ["test-0003"]})
