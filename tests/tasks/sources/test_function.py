import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import UserError
from tasks.parameters import FunctionSource
from tasks.sources import Examples, read

MODULE = """
from tasks.sources import Examples

def letters(path, upper=False):
    words = path.read_text().split()
    return Examples([word[0] for word in words], [word.upper() if upper else word for word in words])

def result(path):
    return RESULT
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_reader.py").write_text(MODULE)
    (tmp_path / "words.txt").write_text("ant bee cow")
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_reader"
    sys.modules.pop("own_reader", None)


def test_a_function_of_ones_own(module: str, tmp_path: Path) -> None:
    source = FunctionSource(kind="function", function=f"{module}:letters", arguments={"upper": True})
    examples = read(source, tmp_path / "words.txt")
    assert examples.labels == ["a", "b", "c"]
    assert examples.inputs == ["ANT", "BEE", "COW"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([("a", "text")], "returned list: it must return tasks.sources.Examples"),
        (Examples([], []), "returned no examples"),
        (Examples(["a"], ["x", "y"]), "returned 2 inputs for 1 labels"),
        (Examples(["a", "b"], ["x", "y"], ids=["1"]), "returned 1 ids for 2 labels"),
        (Examples(["a", "b"], ["x", "y"], slices={"sex": ["f"]}), "returned 1 slices['sex'] for 2 labels"),
        (Examples(["a", 1], ["x", "y"]), "returned 1 in labels, row 2: return strings"),  # type: ignore[list-item]
        (Examples(["a", ""], ["x", "y"]), "returned an empty label in row 2"),
        (Examples(["a"], [None]), "returned None in inputs, row 1: return strings"),  # type: ignore[list-item]
        (Examples(["a"], np.zeros((1, 2, 2))), "returned inputs of type float64 and shape [1, 2, 2]"),
        (Examples(["a"], pd.DataFrame({"x": [None]})), "returned a missing value in column 'x', row 1"),
        (Examples(["a"], pd.DataFrame({0: [1.0]})), "returned columns [0]: name each by a string of its own"),
        (Examples(["a"], {"x": 1}), "returned inputs of type dict"),  # type: ignore[arg-type]
    ],
)
def test_what_it_returns_is_checked(module: str, tmp_path: Path, result: object, message: str) -> None:
    source = FunctionSource(kind="function", function=f"{module}:result")
    __import__(module).RESULT = result
    with pytest.raises(UserError) as caught:
        read(source, tmp_path / "words.txt")
    assert f"{module}:result {message}" in str(caught.value)
