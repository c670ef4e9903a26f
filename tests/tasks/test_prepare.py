import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks import prepare
from tasks.artifacts import PROVENANCE, TRUTH, content_hash
from tasks.dataset import load_split
from tasks.errors import UserError
from tasks.parameters import Parameters, load_parameters
from tasks.reviews import store
from tasks.reviews.content import contents
from tasks.reviews.verdict import Verdict
from tasks.workspace import SPLITS, Workspace

REPOSITORY = Path(__file__).parents[2]
OUTPUTS = [
    *(f"data/prepared/{name}.parquet" for name in SPLITS),
    "data/prepared/encoding.json",
    "data/truth.parquet",
    "data/verdicts.parquet",
]


def people(count: int, start: int = 0) -> pd.DataFrame:
    rows = range(start, start + count)
    return pd.DataFrame(
        {
            "age": [20 + row % 50 for row in rows],
            "note": [f"person number {row}, café" for row in rows],
            "job": [["clerk", "boss", "cook"][row % 3] for row in rows],
            "sex": ["fm"[row % 2] for row in rows],
            "income": [["low", "high"][row % 2] for row in rows],
        }
    )


def run(
    root: Path, frame: pd.DataFrame, seed: int = 0, held_out: pd.DataFrame | None = None, **changes: Any
) -> Workspace:
    """Prepare a CSV file in a workspace; `changes` are keys of `prepare`."""
    frame.to_csv(root / "data.csv", index=False)
    if held_out is not None:
        held_out.to_csv(root / "test.csv", index=False)
        changes["test_path"] = "test.csv"
    source = {"kind": "csv", "label": "income", "slices": ["sex"], "ignore": ["note"], **changes.pop("source", {})}
    settings = {"seed": seed, "prepare": {"path": "data.csv", "source": source, "corruption": 0.1, **changes}}
    prepare.run(Workspace(root), Parameters.model_validate(settings))
    return Workspace(root)


def rows(workspace: Workspace) -> pd.DataFrame:
    """Every example by id, with the split it is in."""
    columns = ["example_id", "label", "given_label", "display", "slice_sex"]
    parts = [pq.read_table(workspace.split(name), columns=columns).to_pandas().assign(split=name) for name in SPLITS]
    return pd.concat(parts).set_index("example_id", verify_integrity=True)


def error(root: Path, frame: pd.DataFrame, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        run(root, frame, **changes)
    assert not (root / "data").exists()  # refused before anything was written
    return str(caught.value)


def test_the_bundled_images(tmp_path: Path) -> None:
    parameters = load_parameters(REPOSITORY / "params.yaml")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(REPOSITORY / "data/raw")
    workspace = Workspace(tmp_path)
    assert prepare.run(workspace, parameters).examples == 10_000
    splits = {name: load_split(workspace, name) for name in SPLITS}
    assert {name: len(part) for name, part in splits.items()} == {"train": 8000, "validation": 1000, "test": 1000}
    assert splits["train"].encoding.classes == parameters.prepare.source.names  # type: ignore[union-attr]
    inputs, _ = splits["train"].batch(slice(None))
    assert list(inputs.shape) == [8000, 1, 28, 28]
    assert abs(inputs.mean()) < 1e-4 and abs(inputs.std() - 1) < 1e-4

    truth = pq.read_table(workspace.truth)
    assert truth.schema.remove_metadata() == TRUTH
    train = pq.read_table(workspace.split("train"))
    assert truth["example_id"] == train["example_id"]
    planted = truth["planted"].to_numpy()
    assert planted.sum() == 400
    assert ((truth["true_label"].to_numpy() != train["label"].to_numpy()) == planted).all()
    assert train["label"] == train["given_label"]
    assert train["display"].null_count == 8000
    recorded = json.loads(train.schema.metadata[PROVENANCE])
    assert recorded["stage"] == "prepare" and recorded["parameters"]["seed"] == 0


def test_the_same_work_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        run(Path(), people(60))
        hashes.append([content_hash(Path(output)) for output in OUTPUTS])
    assert hashes[0] == hashes[1]


def test_verdicts_change_labels_and_rows_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = run(Path(), people(60))
    before = {name: content_hash(Path(name)) for name in OUTPUTS}
    train = pq.read_table(workspace.split("train"))
    planted = pq.read_table(workspace.truth).to_pylist()
    wrong, gone, kept = (
        next(row["example_id"] for row in planted if row["planted"]),
        *[row["example_id"] for row in planted if not row["planted"]][:2],
    )
    known = dict(zip(train["example_id"].to_pylist(), contents(train), strict=True))
    given = dict(zip(train["example_id"].to_pylist(), train["label"].to_pylist(), strict=True))
    other = {"low": "high", "high": "low"}

    def verdict(name: str, said: Any, new_label: str | None = None) -> Verdict:
        return Verdict(name, said, new_label, "ann", datetime.now(UTC), "run", "label", known[name], given[name])

    store.append(workspace, [verdict(kept, "keep")])
    run(Path(), people(60))
    after = {name: content_hash(Path(name)) for name in OUTPUTS}
    assert {name for name in OUTPUTS if after[name] != before[name]} == {"data/verdicts.parquet"}
    assert "verdicts" not in capsys.readouterr().out.partition("\n")[0]

    store.append(workspace, [verdict(wrong, "relabel", other[given[wrong]]), verdict(gone, "drop")])
    run(Path(), people(60))
    assert "; verdicts applied: 1 relabelled, 1 dropped, 1 kept" in capsys.readouterr().out
    mended = pq.read_table(workspace.split("train"))
    labels = dict(zip(mended["example_id"].to_pylist(), mended["label"].to_pylist(), strict=True))
    assert labels == {name: other[label] if name == wrong else label for name, label in given.items() if name != gone}
    unchanged = train.filter(pc.not_equal(train["example_id"], gone))
    for column in ("input", "display", "given_label", "slice_sex"):
        assert mended[column] == unchanged[column]
    assert pq.read_table(workspace.applied_verdicts)["outcome"].to_pylist() == ["applied"] * 3
    now = {name: content_hash(Path(name)) for name in OUTPUTS}
    kept_files = {"data/prepared/encoding.json", "data/truth.parquet"}
    kept_files |= {"data/prepared/validation.parquet", "data/prepared/test.parquet"}
    assert {name for name in OUTPUTS if now[name] == before[name]} == kept_files


def test_tables_have_a_display_and_slices(tmp_path: Path) -> None:
    prepared = rows(run(tmp_path, people(3), validation=1, test=0, corruption=0))
    shown = prepared["display"].map(json.loads).tolist()
    assert {"age": "20", "job": "clerk"} in shown
    assert prepared["slice_sex"].tolist().count("f") == 2
    assert (prepared["label"] == prepared["given_label"]).all()


def test_rows_keep_the_order_of_the_source(tmp_path: Path) -> None:
    workspace = run(tmp_path, people(50), source={"ignore": [], "text": "note"})
    for name in SPLITS:
        texts = pq.read_table(workspace.split(name))["display"].to_pylist()
        numbers = [int(text.split()[2].strip(",")) for text in texts]
        assert numbers == sorted(numbers)


@settings(max_examples=15)
@given(place=st.integers(0, 80), seed=st.integers(0, 3))
def test_a_row_added_moves_almost_nothing(tmp_path_factory: pytest.TempPathFactory, place: int, seed: int) -> None:
    root, frame, text = tmp_path_factory.mktemp("rows"), people(80), {"ignore": [], "text": "note"}
    before = rows(run(root, frame, seed, source=text, validation=8, test=8))
    longer = pd.concat([frame[:place], people(1, start=500), frame[place:]])
    after = rows(run(root, longer, seed, source=text, validation=8, test=8)).loc[before.index]
    assert (before["split"] != after["split"]).sum() <= 2
    stayed = (before["split"] == after["split"]) & (before["split"] == "train")
    assert (before["label"] != after["label"])[stayed].sum() <= 2  # at the border of the corruption


def test_relabelling_moves_no_row_and_changes_no_other_label(tmp_path: Path) -> None:
    frame = people(80)
    before = rows(run(tmp_path, frame, source={"ignore": [], "text": "note"}))
    frame.loc[7, "income"] = "low" if frame.loc[7, "income"] == "high" else "high"
    after = rows(run(tmp_path, frame, source={"ignore": [], "text": "note"}))
    assert before.index.equals(after.index) and before["split"].equals(after["split"])
    assert (before["label"] != after["label"]).sum() == 1


def test_the_encoding_is_learned_from_the_training_split_alone(tmp_path: Path) -> None:
    frame = people(40).assign(key=[f"k{row}" for row in range(40)])  # an id that stays when the row is changed
    workspace = run(tmp_path, frame, source={"id": "key"})
    learned = workspace.encoding.read_bytes()
    held_out = load_split(workspace, "test").ids + load_split(workspace, "validation").ids
    frame.loc[frame["key"].isin(held_out), ["age", "job"]] = [999_999, "astronaut"]
    run(tmp_path, frame, source={"id": "key"})
    assert workspace.encoding.read_bytes() == learned
    assert load_split(workspace, "test").batch(slice(None))[0][:, 0].min() > 1000  # in the training split's units


def test_a_test_file_of_its_own_is_the_whole_test_split(tmp_path: Path) -> None:
    prepared = rows(run(tmp_path, people(40), held_out=people(7, start=100), validation=4))
    assert prepared["split"].value_counts().to_dict() == {"train": 36, "test": 7, "validation": 4}


def test_there_need_be_no_test_split(tmp_path: Path) -> None:
    for source in ({}, {"ignore": [], "text": "note"}):
        assert len(load_split(run(tmp_path, people(40), test=0, source=source), "test")) == 0


def test_a_folder_of_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / "pets" / ("cat" if number % 2 else "<b>dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (5, 6, 3), np.uint8)).save(folder / f"{number}.png")
    source = {"path": "pets", "source": {"kind": "image_folder"}}
    workspace = Workspace(tmp_path)
    prepare.run(workspace, Parameters.model_validate({"prepare": source}))
    split = load_split(workspace, "train")
    assert split.encoding.classes == ["<b>dog", "cat"]
    assert list(split.batch(slice(0, 2))[0].shape) == [2, 3, 5, 6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": {"label": "wage"}}, "data.csv has no column 'wage'"),
        ({"source": {"id": "job"}}, "duplicate id 'clerk' in data row 1 of"),
        ({"classes": ["low", "middle"]}, "unknown label 'high' in data row 2 of"),
        ({"classes": ["low", "high", "middle"]}, "empty class: no training example has the label 'middle'"),
        ({"validation": 20, "test": 20}, "no example of 40 is left to train on"),
    ],
)
def test_bad_input(tmp_path: Path, changes: dict, message: str) -> None:
    assert message in error(tmp_path, people(40), **changes)


@pytest.mark.parametrize(
    ("prepared", "message"),
    [
        ({"validation": 2.5}, "validation is a share below 1 or a whole number of examples, not 2.5"),
        ({"test": 100.5}, "test is a share below 1 or a whole number of examples, not 100.5"),
        ({"classes": ["one"]}, "classes must be at least two different labels"),
        ({"classes": ["one", "one"]}, "classes must be at least two different labels"),
    ],
)
def test_bad_parameters(tmp_path: Path, prepared: dict, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"prepare": {"path": "data", "source": {"kind": "idx"}, **prepared}}))
    with pytest.raises(UserError) as caught:
        load_parameters(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("row", range(0, 40, 10))
def test_an_infinite_number_in_any_split(tmp_path: Path, row: int) -> None:
    frame = people(40).astype({"age": object})
    frame.loc[row, "age"] = "-inf"
    assert f"column 'age' of data row {row + 1} of {tmp_path}/data.csv is '-inf', infinite" in error(tmp_path, frame)


def test_a_missing_value(tmp_path: Path) -> None:
    frame = people(40)
    frame.loc[16, "age"] = None
    assert "missing value in column 'age' of data row 17 of" in error(tmp_path, frame)
    run(tmp_path, frame, source={"missing": "impute"})


def test_a_label_of_the_test_file_that_training_does_not_know(tmp_path: Path) -> None:
    message = error(tmp_path, people(40), held_out=people(5).assign(income="middling"))
    assert "unknown label 'middling' in data row 1 of" in message and "test.csv" in message
