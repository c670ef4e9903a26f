"""What is found wrong before a server starts or a stage runs."""

from pathlib import Path

import pytest
import yaml
from toy import Toy

from flows.checks import check, own_module
from tasks.errors import UserError
from tasks.reviews import store
from tasks.workspace import Workspace

PREPARE = {"path": "raw", "source": {"kind": "csv", "label": "y"}}


def own_model(toy: Toy, *stages: str, dependency: str = "nets/small.py") -> None:
    """`train.factory: nets.small:build`, with the file among the deps of these stages."""
    (toy.root / "nets").mkdir()
    (toy.root / "nets/small.py").write_text("raise SystemExit('the check must not run it')")
    toy.parameters(train={"factory": "nets.small:build"})
    described = yaml.safe_load((toy.root / "dvc.yaml").read_text())
    for stage in stages:
        described["stages"][stage]["deps"].append(dependency)
    (toy.root / "dvc.yaml").write_text(yaml.safe_dump(described))


def test_a_sound_workspace_passes(toy: Toy) -> None:
    check(toy.root)
    check(toy.root, ["train"])


def test_parameters_are_checked(toy: Toy) -> None:
    toy.parameters(train={"epoch": 3})
    with pytest.raises(UserError, match=r"`train\.epoch` is not a known key"):
        check(toy.root)
    (toy.root / "params.yaml").unlink()
    with pytest.raises(UserError, match=r"params\.yaml is missing"):
        check(toy.root)


def test_another_version_is_refused(toy: Toy) -> None:
    toy.parameters(package="0.0.0")
    with pytest.raises(UserError, match=r"written for influence-pipeline 0\.0\.0"):
        check(toy.root)


def test_a_scheduler_that_does_not_answer_is_told_before_any_stage_runs(toy: Toy) -> None:
    toy.parameters(runner={"dask": "tcp://127.0.0.1:1"})
    with pytest.raises(UserError, match=r"`runner\.dask`: no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        check(toy.root)


def test_own_code_must_be_a_dependency_of_each_stage_that_runs_it(toy: Toy) -> None:
    own_model(toy)
    with pytest.raises(UserError, match=r"`train\.factory` makes train read nets/small\.py.*add `- nets/small\.py`"):
        check(toy.root)


@pytest.mark.parametrize("dependency", ["nets/small.py", "nets", "./nets/"])
def test_the_file_or_a_folder_that_holds_it_will_do(toy: Toy, dependency: str) -> None:
    own_model(toy, "train", dependency=dependency)
    check(toy.root)


def test_installed_code_needs_no_dependency(toy: Toy) -> None:
    toy.parameters(train={"factory": "torch.nn:Linear"})
    check(toy.root)


def test_all_stages_that_lack_it_are_named(toy: Toy) -> None:
    described = yaml.safe_load((toy.root / "dvc.yaml").read_text())
    for name in ("precondition", "score"):
        described["stages"][name] = {"cmd": f"cp b {name}", "deps": ["b"], "outs": [name]}
    (toy.root / "dvc.yaml").write_text(yaml.safe_dump(described))
    own_model(toy, "train")
    with pytest.raises(UserError, match=r"to the deps of precondition and score$"):
        check(toy.root)


@pytest.mark.parametrize(
    ("key", "section", "file"),
    [
        ("prepare.path", {"prepare": {**PREPARE, "path": "elsewhere.csv"}}, "elsewhere.csv"),
        ("prepare.test_path", {"prepare": {**PREPARE, "test_path": "held_out.csv"}}, "held_out.csv"),
        ("train.checkpoint", {"train": {"checkpoint": "given.safetensors"}}, "given.safetensors"),
        (
            "prepare.source.function",
            {"prepare": {"path": "raw", "source": {"kind": "function", "function": "reader:read"}}},
            "reader.py",
        ),
    ],
)
def test_every_file_of_the_users_must_be_a_dependency(
    toy: Toy, key: str, section: dict[str, object], file: str
) -> None:
    (toy.root / file).touch()
    toy.parameters(**section)
    with pytest.raises(UserError, match=rf"`{key}` makes \w+ read {file}"):
        check(toy.root)


def test_modules_are_found_without_being_run(tmp_path: Path) -> None:
    package = tmp_path / "outer" / "inner"
    package.mkdir(parents=True)
    for file in (tmp_path / "outer/__init__.py", package / "__init__.py", package / "leaf.py"):
        file.write_text("raise SystemExit('run')")
    assert own_module(tmp_path, "outer.inner.leaf") == package / "leaf.py"
    assert own_module(tmp_path, "outer.inner") == package / "__init__.py"
    assert own_module(tmp_path, "outer.missing") is None
    assert own_module(tmp_path, "nowhere.at_all") is None
    assert own_module(tmp_path, "json") is None


def test_verdicts_that_are_gone_are_not_taken_for_none(toy: Toy) -> None:
    check(toy.root)
    described = yaml.safe_load((toy.root / "dvc.yaml").read_text())
    described["stages"]["prepare"]["deps"].append("reviews/verdicts.parquet")
    (toy.root / "dvc.yaml").write_text(yaml.safe_dump(described))
    with pytest.raises(UserError, match=r"verdicts\.parquet is missing.*git checkout"):
        check(toy.root)
    store.create(Workspace(toy.root))
    check(toy.root)
