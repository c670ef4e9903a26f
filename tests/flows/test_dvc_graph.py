"""The graph as DVC sees it."""

import shutil
from pathlib import Path

import pytest
from toy import Toy

from flows.dvc_graph import mend_lock, read_graph, require_remote
from tasks.errors import UserError


def test_stages_come_after_all_they_need(toy: Toy) -> None:
    stages = read_graph(toy.root)
    assert [stage.name for stage in stages] == ["prepare", "train", "report"]
    assert [set(stage.needs) for stage in stages] == [set(), {"prepare"}, {"train"}]
    assert toy.root / "raw" in stages[0].dependencies


def test_a_target_brings_what_it_needs_and_no_more(toy: Toy) -> None:
    assert [stage.name for stage in read_graph(toy.root, ["train"])] == ["prepare", "train"]


def test_a_tracked_data_file_is_part_of_the_graph(toy: Toy) -> None:
    toy.dvc("add", "raw")
    assert [stage.name for stage in read_graph(toy.root)] == ["raw.dvc", "prepare", "train", "report"]


def test_status_tells_which_stages_are_up_to_date(toy: Toy) -> None:
    assert not any(stage.unchanged for stage in read_graph(toy.root, status=True))
    toy.dvc("repro")
    assert all(stage.unchanged for stage in read_graph(toy.root, status=True))
    toy.parameters(train={"epochs": 4})
    assert [stage.unchanged for stage in read_graph(toy.root, status=True)] == [True, False, True]
    (toy.root / "b").unlink()
    toy.parameters(train={"epochs": 3})
    assert [stage.unchanged for stage in read_graph(toy.root, status=True)] == [True, False, False]


def test_an_unknown_target_is_named_with_the_stages_there_are(toy: Toy) -> None:
    with pytest.raises(UserError, match="no stage 'trian': its stages are prepare, report, train"):
        read_graph(toy.root, ["trian"])


def test_a_folder_without_dvc_yaml_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no dvc.yaml.*influence init"):
        read_graph(tmp_path)


def test_a_folder_without_dvc_is_no_workspace(toy: Toy) -> None:
    shutil.rmtree(toy.root / ".dvc")
    with pytest.raises(UserError, match="not initialised for DVC"):
        read_graph(toy.root)


def test_a_broken_dvc_yaml_is_one_sentence(toy: Toy) -> None:
    (toy.root / "dvc.yaml").write_text("stages: [1")
    with pytest.raises(UserError, match=r"^dvc\.yaml: ") as caught:
        read_graph(toy.root)
    assert "\n" not in str(caught.value)


def test_an_empty_lock_is_removed_and_no_other(toy: Toy) -> None:
    lock = toy.root / ".dvc/tmp/rwlock"
    assert not mend_lock(toy.root)
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    assert mend_lock(toy.root)
    assert not lock.exists()
    lock.write_text("{}")
    assert not mend_lock(toy.root)
    assert lock.read_text() == "{}"


def test_pushing_needs_a_remote(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc remote add --default"):
        require_remote(toy.root)
    toy.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    require_remote(toy.root)
