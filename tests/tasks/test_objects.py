"""One's own functions, found by name."""

import sys
from pathlib import Path

import pytest

from tasks.errors import UserError
from tasks.objects import add_import_paths, load_object


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "own_of_object_test.py").write_text("LIMIT = 3\ndef make():\n    return 'made'\n")
    (tmp_path / "broken_of_object_test.py").write_text("import not_there_of_object_test\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/theirs.py").write_text("def make(): ...\n")
    add_import_paths(tmp_path)
    return tmp_path


def test_a_function_of_the_workspace_is_found(own_modules: Path) -> None:
    assert load_object("own_of_object_test:make", "train.factory")() == "made"


def test_the_workspace_comes_after_everything_installed_and_only_once(
    own_modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(own_modules / "more"))
    add_import_paths(own_modules)
    assert sys.path[-2:] == [str(own_modules.resolve()), str(own_modules / "more")]
    assert sys.path.count(str(own_modules.resolve())) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("own_of_object_test.make", "write it as package.module:function, not 'own_of_object_test.make'"),
        (":make", "write it as package.module:function"),
        ("own_of_object_test:", "write it as package.module:function"),
        ("own_of_object_test:mak", "own_of_object_test has no function 'mak'"),
        ("own_of_object_test:LIMIT", "own_of_object_test has no function 'LIMIT'"),
        ("none_of_object_test:make", "there is no module 'none_of_object_test' in the workspace or installed"),
        ("tasks.theirs:make", "'tasks.theirs' lies in a package whose name this project uses itself"),
    ],
)
def test_messages(own_modules: Path, spec: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_object(spec, "train.factory")
    assert str(caught.value).startswith("`train.factory`: ") and message in str(caught.value)


def test_a_module_that_cannot_import_its_own_needs_is_not_called_missing(own_modules: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="not_there_of_object_test"):
        load_object("broken_of_object_test:make", "train.factory")
