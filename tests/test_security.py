"""What the source promises: no pickle, no code from data, servers on loopback, nothing run by a shell."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ("influence", "tasks", "flows")
FILES = [
    path
    for folder in (*SHIPPED, "experiments", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ".work" not in path.parts
]
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
# Prefect's context goes from the flow to its own child in an environment variable: no file, and nothing of the data.
CONTEXT_OF_OUR_OWN = {"flows/bridge.py"}
IMPORTS_BY_NAME = {  # what loads code that a string names, and where the string comes from
    "influence/__init__.py",  # its own modules, from a table
    "tasks/objects.py",  # the loader itself
    "tasks/sources/function.py",  # prepare.source.function
    "tasks/models/building.py",  # train.factory
    "tasks/shards.py",  # the environment
    "tasks/shard_worker.py",  # the stage whose shards a Dask worker computes
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def called(node: ast.AST) -> str:
    """The dotted name that a call calls."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {each.name.split(".")[0] for each in node.names}
    return {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def test_pickle_is_nowhere() -> None:
    found = {name(path) for path in FILES for node in nodes(path) if imported(node) & PICKLES}
    assert found <= CONTEXT_OF_OUR_OWN


def test_what_can_load_a_pickle_is_told_not_to() -> None:
    for path in FILES:
        for node in nodes(path):
            given = {each.arg: ast.unparse(each.value) for each in getattr(node, "keywords", [])}
            match called(node).rpartition(".")[2], called(node):
                case _, "torch.load":
                    assert given.get("weights_only") == "True", name(path)
                case "load", "np.load" | "numpy.load":
                    assert given.get("allow_pickle") == "False", name(path)
                case "read_pickle" | "to_pickle", _:
                    pytest.fail(f"{name(path)} pickles")


def test_yaml_builds_no_objects_and_nothing_is_evaluated() -> None:
    for path in FILES:
        for node in nodes(path):
            assert called(node) not in {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"}, name(path)


def test_no_shell() -> None:
    for path in FILES:
        for node in nodes(path):
            assert called(node) not in {"os.system", "os.popen", "subprocess.getoutput"}, name(path)
            given = {each.arg: ast.unparse(each.value) for each in getattr(node, "keywords", [])}
            assert given.get("shell", "False") == "False", name(path)


def test_code_is_named_by_parameters_alone() -> None:
    loaders = {"load_object", "import_module", "importlib.import_module", "__import__"}
    shipped = [path for path in FILES if name(path).split("/")[0] in SHIPPED]
    found = {name(path) for path in shipped for node in nodes(path) if called(node) in loaders}
    assert found == IMPORTS_BY_NAME


def test_servers_listen_on_loopback() -> None:
    """Nothing shipped binds to every address; a container, which is reached through its own network, would have to."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in filter(None, listed.split("\0")):
        if path.endswith((".py", ".yaml", ".toml", ".j2", "Makefile", ".json")) and not path.startswith("tests/"):
            text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"0\.0\.0\.0|INADDR_ANY|host\s*[=:]\s*[\"']{2}", text), path
