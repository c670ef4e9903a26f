"""Data at a URL are prepared as the same data in a folder are."""

import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from bucket import Bucket
from PIL import Image

from tasks import prepare
from tasks.artifacts import PROVENANCE, content_hash
from tasks.errors import UserError
from tasks.object_storage.mirror import FOLDER
from tasks.parameters import Parameters
from tasks.provenance import read_origin
from tasks.reviews import store
from tasks.workspace import SPLITS, Workspace

COUNT = 60


def people(extra: str = "") -> pd.DataFrame:
    rows = range(COUNT)
    frame = pd.DataFrame({"age": [20 + row for row in rows], "income": [["low", "high"][row % 2] for row in rows]})
    return frame.assign(note=extra) if extra else frame


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 255 - number, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def images() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte.gz": idx(rng.integers(256, size=(COUNT, 4, 4)).astype(np.uint8)),
        "train-labels-idx1-ubyte.gz": idx((np.arange(COUNT) % 3).astype(np.uint8)),
    }


def pictures() -> dict[str, bytes]:
    return {f"{['cat', 'dog'][number % 2]}/{number:02}.png": picture(number) for number in range(COUNT)}


CASES: dict[str, tuple[str, dict[str, bytes], dict[str, Any]]] = {
    "csv": ("d/people.csv", {"people.csv": people().to_csv(index=False).encode()}, {"kind": "csv", "label": "income"}),
    "parquet": ("d/a.parquet", {"a.parquet": people().to_parquet(index=False)}, {"kind": "parquet", "label": "income"}),
    "an IDX file": ("d/train-images-idx3-ubyte.gz", images(), {"kind": "idx"}),
    "a folder of IDX files": ("d", images(), {"kind": "idx"}),
    "a folder of images": ("d/", pictures(), {"kind": "image_folder"}),
}


def run(root: Path, path: str, source: dict[str, Any], **more: Any) -> Workspace:
    workspace = Workspace(root)
    root.mkdir(exist_ok=True)
    if not workspace.verdicts.exists():
        store.create(workspace)
    settings = {"prepare": {"path": path, "source": source, "validation": 12, "test": 12, **more}}
    prepare.run(workspace, Parameters.model_validate(settings))
    return workspace


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_data_is_prepared_as_in_a_folder(case: str, bucket: Bucket, tmp_path: Path) -> None:
    path, files, source = CASES[case]
    (tmp_path / "here/d").mkdir(parents=True)
    for name, content in files.items():
        bucket.put(f"d/{name}", content)
        (tmp_path / "here/d" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "here/d" / name).write_bytes(content)
    here, there = run(tmp_path / "here", path, source), run(tmp_path / "there", bucket.url(path), source)
    for name in SPLITS:
        assert pq.read_table(there.split(name)).equals(pq.read_table(here.split(name)))
    assert there.encoding.read_bytes() == here.encoding.read_bytes()


def test_the_record_and_the_messages_name_the_url(bucket: Bucket, tmp_path: Path) -> None:
    source = {"kind": "csv", "label": "income"}
    url = bucket.put("d/people.csv", people().to_csv(index=False).encode())
    test_url = bucket.put("d/test.csv", people("x").drop(columns="note").assign(age=99).to_csv(index=False).encode())
    workspace = run(tmp_path, url, source, test_path=test_url)
    made = json.loads((pq.read_schema(workspace.split("train")).metadata or {})[PROVENANCE])
    assert set(made["inputs"]) == {url, test_url}
    origin = read_origin(tmp_path, workspace.split("train"))
    assert origin is not None and {each.now for each in origin.inputs} == {"unknown"}
    (tmp_path / "copy.csv").write_bytes(people().to_csv(index=False).encode())
    assert made["inputs"][url] == content_hash(tmp_path / "copy.csv")

    bucket.put("d/people.csv", people().assign(income=[None, *["low"] * (COUNT - 1)]).to_csv(index=False).encode())
    with pytest.raises(UserError, match=f"missing label in column 'income' of data row 1 of {url}:"):
        run(tmp_path, url, source)
    assert len(list((tmp_path / ".work" / FOLDER).iterdir())) == 1, "the copy of the test set is not needed any more"


def test_nothing_of_the_credentials_is_kept(bucket: Bucket, tmp_path: Path) -> None:
    from bucket import KEY, SECRET

    url = bucket.put("people.csv", people().to_csv(index=False).encode())
    run(tmp_path, url, {"kind": "csv", "label": "income"})
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert url.encode() in kept and KEY.encode() not in kept and SECRET.encode() not in kept
