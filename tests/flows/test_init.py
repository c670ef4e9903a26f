"""`influence init` in repositories of a user's own."""

import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.checks import check
from flows.dvc_graph import read_graph
from flows.dvc_runner import stage_environment
from flows.init import initialise, render
from flows.sniff import Hints
from tasks.errors import UserError
from tasks.parameters import RelativeDamping, load_parameters
from tasks.reviews import store
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

REPOSITORY = Path(__file__).parents[2]
STAGES = ["prepare", "train", "precondition", "validate", "score", "flag", "report"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty git repository with a CSV file, and packages of the user's own that are called like ours."""
    root = tmp_path / "repository"
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / "people.csv").write_text("age,label\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(60)))
    for name in ("flows", "tasks"):
        (root / name).mkdir()
        (root / name / "__init__.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(root)
    return root


def dvc(root: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env=stage_environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_files_are_sound_and_dvc_reads_them(repository: Path) -> None:
    initialise(repository, Path("people.csv"), Hints())
    assert sorted(stage.name for stage in read_graph(repository)) == sorted(STAGES)
    check(repository)
    assert [line.split()[0] for line in dvc(repository, "stage", "list").splitlines()] == STAGES
    assert "Running stage 'prepare'" in dvc(repository, "repro", "--dry", "prepare")
    parameters = load_parameters(repository / "params.yaml")
    assert (parameters.package, parameters.train.factory) == (version("influence-pipeline"), "logistic")
    assert parameters.precondition.damping == RelativeDamping(relative=0.1)  # of a network it is 10
    config = dvc(repository, "config", "--list").lower()
    assert all(setting in config for setting in ("core.analytics=false", "core.autostage=true"))
    ignored = ["data/prepared/x", "model/weights.safetensors", ".work/x", ".prefect/x", "report/index.html"]
    shown = subprocess.run(["git", "check-ignore", *ignored], cwd=repository, capture_output=True, text=True)
    assert shown.stdout.split() == ignored


def test_a_stage_runs_though_the_user_has_packages_of_the_same_names(repository: Path) -> None:
    initialise(repository, Path("people.csv"), Hints())
    dvc(repository, "repro", "prepare")
    assert (repository / "data/prepared/train.parquet").exists()


def test_nothing_is_overwritten_unasked(repository: Path) -> None:
    (repository / "params.yaml").write_text("mine")
    (repository / ".gitignore").write_text("mine\n/.work/")
    with pytest.raises(UserError, match=r"^params\.yaml would be overwritten: add --force"):
        initialise(repository, Path("people.csv"), Hints())
    assert not (repository / "dvc.yaml").exists()
    initialise(repository, Path("people.csv"), Hints(), force=True)
    first = (repository / ".gitignore").read_text()
    assert first.startswith("mine\n/.work/\n") and first.count("/.work/") == 1
    initialise(repository, Path("people.csv"), Hints(), force=True)
    assert (repository / ".gitignore").read_text() == first


def test_verdicts_that_are_there_stay(repository: Path) -> None:
    initialise(repository, Path("people.csv"), Hints())
    workspace = Workspace(repository)
    assert store.read(workspace) == []
    verdict = Verdict("a", "keep", None, "ann", datetime.now(UTC), "run", "label", "content", "b")
    store.append(workspace, [verdict])
    initialise(repository, Path("people.csv"), Hints(), force=True)
    assert store.read(workspace) == [verdict]


def test_own_code_is_among_the_dependencies(repository: Path) -> None:
    (repository / "nets.py").write_text("raise SystemExit('run')")
    initialise(repository, Path("people.csv"), Hints(), factory="nets:build")
    check(repository)
    stages = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    reading = [name for name in stages if "nets.py" in stages[name]["deps"]]
    assert reading == ["train", "precondition", "validate", "score", "flag"]
    assert load_parameters(repository / "params.yaml").precondition.damping == RelativeDamping(relative=10.0)


def test_outside_of_git_and_below_its_top(tmp_path: Path, repository: Path) -> None:
    outside, below = tmp_path / "outside", repository / "below"
    for root in (outside, below):
        root.mkdir()
        initialise(root, repository / "people.csv", Hints())
        check(root)
        assert (root / ".dvc").is_dir()
    assert "no_scm=True" in dvc(outside, "config", "--list")


def test_awkward_names_survive(repository: Path) -> None:
    data = repository / "my: data #1 'é'.csv"
    data.write_text("age,yes: no\n1,a\n2,b\n")
    initialise(repository, data, Hints(label="yes: no"))
    prepare = load_parameters(repository / "params.yaml").prepare
    assert (prepare.path, prepare.source.model_dump()["label"]) == (data.name, "yes: no")
    check(repository)


def test_a_pair_of_idx_files_brings_both(repository: Path) -> None:
    for name, header, size in (("images-idx3", [0x803, 4, 2, 2], 16), ("labels-idx1", [0x801, 4], 4)):
        content = np.array(header, ">u4").tobytes() + bytes(size)
        (repository / f"t-{name}-ubyte").write_bytes(content)
    initialise(repository, Path("t-images-idx3-ubyte"), Hints())
    stages = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    assert stages["prepare"]["deps"] == ["${prepare.path}", "reviews/verdicts.parquet", "t-labels-idx1-ubyte"]


def test_this_projects_own_files_are_what_the_templates_give() -> None:
    """dvc.yaml of a user differs by `package` among the parameters in place of the code among the deps."""
    root = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
    assert yaml.safe_load(render("dvc.yaml", project=True, own={})) == root
    users = yaml.safe_load(render("dvc.yaml", project=False, own={}))
    for stage in root["stages"].values():
        stage["deps"] = [path for path in stage["deps"] if path not in ("influence", "tasks")]
        stage["params"] = ["package", *stage["params"]]
    assert users == root
    assert (REPOSITORY / "prefect.yaml").read_text() == render("prefect.yaml")
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    assert set(render("gitignore").splitlines()) <= set(ignored)
