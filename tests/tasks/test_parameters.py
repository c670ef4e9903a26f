"""params.yaml: what is wrong is named by its path, and the defaults are those of the pipeline."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.errors import UserError
from tasks.parameters import Corruption, Parameters, RelativeDamping, load_parameters, parse_bytes

PREPARE = {"path": "data.csv", "source": {"kind": "csv", "label": "y"}}


def load(folder: Path, **sections: Any) -> Parameters:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({"prepare": PREPARE, **sections}), encoding="utf-8")
    return load_parameters(path)


def source(**keys: Any) -> dict[str, Any]:
    return {"prepare": {"path": "data.csv", "source": keys}}


def test_what_is_not_written_has_its_default(tmp_path: Path) -> None:
    parameters = load(tmp_path, score={"k": 3})
    assert (parameters.score.k, parameters.score.shards) == (3, 8)
    assert parameters.precondition.damping == RelativeDamping(relative=0.1)
    assert load(tmp_path, precondition={"damping": 0.5}).precondition.damping == 0.5
    assert parameters.compute.memory_bytes == 2 * 2**30


def test_short_forms_mean_the_same(tmp_path: Path) -> None:
    planted = load(tmp_path, prepare={**PREPARE, "corruption": 0.1}).prepare.corruption
    assert planted == Corruption(kind="uniform", share=0.1)
    assert load(tmp_path, flag={"inspect": "2 %"}).flag.inspect == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"tain": {}}, "`tain` is not a known key"),
        ({"train": {"epoch": 3}}, "`train.epoch` is not a known key"),
        (source(kind="csv", lable="y", label="y"), "`prepare.source.lable` is not a known key"),
        (source(kind="csv"), "`prepare.source.label` is missing"),
        ({"precondition": {"damping": {"relativ": 1}}}, "`precondition.damping.relative` is missing"),
        ({"precondition": {"damping": "much"}}, "`precondition.damping`: Input should be 'auto'"),
        ({"prepare": {"path": "x"}}, "`prepare.source` is missing"),
        (source(kind="xls", label="y"), "'xls' found using 'kind' does not match any of the expected tags"),
        (source(kind="csv", label="y", text="t", image="i"), "`prepare.source`: Value error, give one of features"),
        (source(kind="csv", label="y", features=["a", 7]), "`prepare.source.features.1`: Input should be a valid str"),
        ({"train": {"epochs": "many"}}, "`train.epochs`: Input should be a valid integer"),
        ({"train": {"epochs": 0}}, "`train.epochs`: Input should be greater than or equal to 1, got 0"),
        (
            {"train": {"checkpoint": "s3://b/weights"}},
            "`train.checkpoint`: Value error, a file of this machine is needed",
        ),
        ({"explain": {"inbox": "s3://b/inbox.csv"}}, "`explain.inbox`: Value error, a file of this machine is needed"),
        ({"train": {"learning_rate": float("inf")}}, "`train.learning_rate`: Input should be a finite number"),
        ({"train": {"weight_decay": float("nan")}}, "`train.weight_decay`: Input should be a finite number"),
        ({"runner": "dask"}, "`runner`: Input should be 'loop'"),
        ({"runner": {"dask": "127.0.0.1:8786"}}, "`runner.dask`: String should match pattern"),
        ({"runner": {"dask": "tcp://a:1", "workers": 2}}, "`runner`: Value error, workers are for `dask: local`"),
        ({"flag": {"inspect": "many %"}}, "`flag.inspect`: Input should be a valid number"),
        ({"flag": {"folds": 1}}, "`flag`: Value error, folds are 0 or at least 2"),
        (
            {"flag": {"inspect": 0.1, "false_discoveries": 0.2}},
            "`flag`: Value error, give inspect or false_discoveries",
        ),
        ({"prepare": {**PREPARE, "corruption": 2}}, "`prepare.corruption`: Input should be less than or equal to 1"),
        ({"prepare": {**PREPARE, "corruption": {"kind": "odd"}}}, "`prepare.corruption.kind`: Input should be"),
        ({"flag": {"inspect": 5}}, "`flag.inspect`: Input should be less than or equal to 1, got 5"),
        ({"score": None}, "`score`: Input should be a valid dictionary"),
        ({"precondition": {"queries": {"errors": 0, "sample": 0}}}, "`precondition.queries`: Value error, ask for at"),
        ({"compute": {"memory_limit": "infGiB"}}, "write a size such as 512MiB or 2GiB, not 'infGiB'"),
    ],
)
def test_messages(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, **sections)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "params.yaml"))
    assert "\n" not in str(caught.value)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`train\.epochs`.*; `score\.kk` is not a known key"):
        load(tmp_path, train={"epochs": -1}, score={"kk": 3})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"is missing: change to a workspace, or make one with `influence init`"),
        ("prepare: [", r"is not valid YAML"),
        ("- 1", r"must hold sections such as `prepare:`"),
        ("", r"must hold sections such as `prepare:`"),
    ],
)
def test_a_file_that_is_no_parameters(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_parameters(path)


def test_sizes() -> None:
    assert [parse_bytes(text) for text in ("1MiB", "1.5GiB", "2GB", "3 MB")] == [2**20, 3 * 2**29, 2 * 10**9, 3 * 10**6]
    for text, message in (("1KiB", "less than 1MiB"), ("2G", "write a size"), ("xMiB", "write a size")):
        with pytest.raises(ValueError, match=message):
            parse_bytes(text)
