"""DVC's own files, halved by a kill."""

import pytest
from toy import Toy

from flows.mending import lock_file_is_damaged, mend
from tasks.workspace import Workspace


def test_whole_files_are_left_alone(toy: Toy) -> None:
    toy.dvc("repro")
    before = (toy.root / "dvc.lock").read_bytes()
    assert mend(toy.root) == []
    assert (toy.root / "dvc.lock").read_bytes() == before


@pytest.mark.parametrize("content", ["", "schema: '2.0'\nstages:\n  prep", "{", "stages: 7\n"])
def test_a_halved_lock_file_goes_away_and_the_results_come_from_the_cache(toy: Toy, content: str) -> None:
    toy.dvc("repro")
    (toy.root / "dvc.lock").write_text(content)
    if lock_file_is_damaged(toy.root):
        (done,) = mend(toy.root)
        assert "dvc.lock" in done
        assert (Workspace(toy.root).work / "damaged/dvc.lock").read_text() == content
    assert not lock_file_is_damaged(toy.root)
    output = toy.dvc("repro")
    assert "Running stage" not in output and output.count("is cached - skipping run") == 3


@pytest.mark.parametrize("content", ["", '{"write": {"/a": ', "[]"])
def test_a_halved_rwlock_is_removed(toy: Toy, content: str) -> None:
    path = toy.root / ".dvc/tmp/rwlock"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    assert len(mend(toy.root)) == 1
    assert mend(toy.root) == []
    toy.dvc("repro")


def test_a_lock_file_that_another_process_may_be_writing_is_left(toy: Toy) -> None:
    from dvc.lock import make_lock

    (toy.root / "dvc.lock").write_text("{")
    folder = toy.root / ".dvc/tmp"
    folder.mkdir(exist_ok=True)
    with make_lock(str(folder / "lock"), tmp_dir=str(folder)):
        assert mend(toy.root) == []
    assert (toy.root / "dvc.lock").read_text() == "{"
