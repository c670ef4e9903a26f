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
from tasks import precondition, prepare, train
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
