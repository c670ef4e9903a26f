"""The commands that ask something, each in a workspace of pictures in which the stages have run."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from flows.cli import app
from tasks import precondition, prepare, score, train
from tasks.artifacts import read_table
from tasks.errors import UserError
from tasks.parameters import load_parameters
from tasks.workspace import Workspace

SETTINGS: dict[str, Any] = {
    "compute": {"device": "cpu"},
    "prepare": {"path": "pictures", "source": {"kind": "image_folder", "channels": 1}, "test": 0.25},
    "train": {"factory": "logistic", "epochs": 4, "weight_decay": 0.01},
    "precondition": {"queries": {"errors": 2, "sample": 2}},
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of noisy pictures, bright in one place or another."""
    root = tmp_path_factory.mktemp("questions") / "pictures"
    rng = np.random.default_rng(0)
    for place, name in enumerate(("left", "right", "<b>top")):
        folder = root / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(25):
            pixels = rng.integers(0, 140, (8, 8), np.uint8)
            pixels[2 * place : 2 * place + 2] += 100
            Image.fromarray(pixels).save(folder / f"{number}.png")
    (root / "params.yaml").write_text(yaml.safe_dump(SETTINGS))
    with contextlib.chdir(root):
        for stage in (prepare.run, train.run, precondition.run):
            stage(Workspace(), load_parameters(Path("params.yaml")))
    return root


def ask(root: Path, *arguments: str) -> Result:
    with contextlib.chdir(root):
        return CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "120", "NO_COLOR": "1"})


def page_of(result: Result) -> str:
    """The page that the last line names."""
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1]
    assert last.startswith("Page: /")
    return Path(last.removeprefix("Page: ")).read_text(encoding="utf-8")


def test_explain(pictures: Path) -> None:
    query = read_table(Workspace(pictures).split("test"))["example_id"][0].as_py()
    answer = ask(pictures, "explain", query, "--k", "3")
    assert f"{query} (test): label" in answer.stdout
    assert "Most helpful" in page_of(answer)


@pytest.fixture(scope="module")
def indexed(pictures: Path) -> Path:
    """The workspace with scores and a gradient index."""
    with contextlib.chdir(pictures):
        score.run(Workspace(), load_parameters(Path("params.yaml")))
    answer = ask(pictures, "index", "--coordinates", "64")
    assert answer.exit_code == 0 and "64 of " in answer.stdout and "of the top 100 by EK-FAC" in answer.stdout
    return pictures


@pytest.fixture
def new(pictures: Path, tmp_path: Path) -> Path:
    """A folder of five pictures of each label, which are in the workspace's data too."""
    for source in (pictures / "pictures").iterdir():
        folder = tmp_path / "new" / source.name
        folder.mkdir(parents=True)
        for number in range(5):
            shutil.copy(source / f"{number}.png", folder)
    return tmp_path / "new"


def test_new_queries_are_answered_at_a_frozen_model(indexed: Path, new: Path) -> None:
    query = read_table(Workspace(indexed).split("test"))["example_id"][0].as_py()
    before = {path: path.stat().st_mtime_ns for path in (indexed / "index").iterdir()}
    alone = ask(indexed, "explain", query, "--frozen-model", "--k", "3")
    assert f"{query} (test): label" in alone.stdout and "of those by EK-FAC" in " ".join(alone.stdout.split())
    many = ask(indexed, "explain", str(new), "--frozen-model", "--k", "3")
    assert many.exit_code == 0 and "(new): label" in many.stdout
    lines = many.stdout.splitlines()
    table = read_table(Path(lines[-1].removeprefix("Table: ")))
    assert len(set(table["query_id"].to_pylist())) == len(list(new.glob("*/*.png"))) == 15
    assert set(table["split"].to_pylist()) == {"new"} and set(table["tail"].to_pylist()) == {"helpful", "harmful"}
    assert before == {path: path.stat().st_mtime_ns for path in (indexed / "index").iterdir()}, "the index stays"


def test_new_rows_are_scored_as_training_examples_are(indexed: Path, new: Path) -> None:
    """Rows of a file that are in training as well have the scores that they have there."""
    answer = ask(indexed, "score", str(new), "--frozen-model")
    assert answer.exit_code == 0 and "of 15 rows would raise the loss" in answer.stdout
    own = read_table(indexed / "frozen/self.parquet")
    known = {row["example_id"]: row for row in read_table(Workspace(indexed).self_influence).to_pylist()}
    predicted = {row["example_id"]: row for row in read_table(Workspace(indexed).predictions).to_pylist()}
    both = [row for row in own.to_pylist() if row["example_id"] in known]
    assert len(own) == 15 and len(both) >= 5
    for row in both:
        theirs = known[row["example_id"]]
        for name in ("self_influence", "influence_on_errors"):
            assert row[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-6)
        assert row["loss"] == pytest.approx(predicted[row["example_id"]]["loss"], rel=1e-4)
        assert row["predicted"] == predicted[row["example_id"]]["predicted"]
    top = read_table(indexed / "frozen/top.parquet")
    assert set(top["example_id"].to_pylist()) <= set(own["example_id"].to_pylist())
    assert b"frozen_model" in top.schema.metadata[b"influence.scores"]
    for picture in sorted(new.glob("*/*.png"))[1:]:
        picture.unlink()
    for folder in new.iterdir():
        if not any(folder.iterdir()):
            folder.rmdir()
    assert "of 1 rows" in ask(indexed, "score", str(new), "--frozen-model").stdout


def test_what_a_frozen_model_cannot_take_is_said(indexed: Path, new: Path) -> None:
    with pytest.raises(UserError, match=r"take `influence run`; `influence score FILE --frozen-model` scores them"):
        ask(indexed, "score", str(new))
    (next(new.iterdir())).rename(new / "unheard of")
    with pytest.raises(UserError, match="unknown label 'unheard of'"):
        ask(indexed, "explain", str(new), "--frozen-model")
    with pytest.raises(UserError, match=r"missing\.png does not exist: name a file or folder of the kind"):
        ask(indexed, "score", "missing.png", "--frozen-model")


def test_slices(pictures: Path) -> None:
    answer = ask(pictures, "slices", "--by", "label", "--split", "test")
    assert "By label, evaluated on test" in answer.stdout and "<b>top" in answer.stdout
    page = page_of(answer)
    assert "Who is misled by whom" in page and "&lt;b&gt;top" in page and "<b>top" not in page
    assert {"slices.parquet", "influence.parquet"} <= {file.name for file in (pictures / "slices").iterdir()}


def test_audit(pictures: Path) -> None:
    answer = ask(pictures, "audit", "--queries", "2", "--levels", "4")
    assert "Share of 2 predictions flipped" in answer.stdout
    page = page_of(answer)
    assert "Audit of 2 correctly read images of the test split" in page and "each pixel by 4 levels" in page


def test_compare(pictures: Path) -> None:
    other = pictures.with_name("other")
    shutil.copytree(pictures, other)
    answer = ask(pictures.parent, "compare", "pictures", "other", "--k", "2")
    assert "rank correlation of their influences +1.00" in " ".join(answer.stdout.split())
    assert "How two models explain the same example" in page_of(answer)
    assert next((pictures / "compare").iterdir()).suffix == ".html"


def test_what_is_wrong_is_said_before_any_work(pictures: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'age' to slice by: take one of label, predicted, or name"):
        ask(pictures, "slices", "--by", "age")
    assert ask(pictures, "slices", "--by", "label", "--split", "train").exit_code == 2
    with pytest.raises(UserError, match=r"nowhere/params\.yaml is missing"):
        ask(pictures.parent, "compare", "pictures", "nowhere")
    assert ask(pictures, "audit", "--levels", "0").exit_code == 2


def test_a_page_is_opened_where_there_is_a_display(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")
    assert ask(pictures, "slices", "--by", "label", "--open").exit_code == 0
    assert opened == [(pictures / "slices/index.html").as_uri()]
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if os.uname().sysname == "Linux":
        assert "no display here" in ask(pictures, "slices", "--by", "label", "--open").stdout
        assert len(opened) == 1
