"""The commit that holds a hash."""

import subprocess
from pathlib import Path

import pytest

from tasks.revision import recorded_by

WHO = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]


def commit(root: Path, lock: str, message: str) -> None:
    (root / "dvc.lock").write_text(lock)
    subprocess.run(["git", "add", "dvc.lock"], cwd=root, check=True)
    subprocess.run(["git", *WHO, "commit", "--quiet", "-m", message], cwd=root, check=True)


def test_the_last_commit_that_brought_the_hash_in(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    root = tmp_path / "inside"  # a workspace need not be the top of its repository
    root.mkdir()
    for lock, message in [("abc\n", "First"), ("def\n", "Second"), ("abc\n", "Back: ä"), ("abc\nghi\n", "More")]:
        commit(root, lock, message)
    found = recorded_by(root / "dvc.lock", "abc")
    assert found is not None and found.subject == "Back: ä" and len(found.day) == len("2026-01-01")
    assert (first := recorded_by(root / "dvc.lock", "ghi")) is not None and first.subject == "More"
    assert (old := recorded_by(root / "dvc.lock", "def")) is not None and old.subject == "Second"  # not who took it out
    assert recorded_by(root / "dvc.lock", "xyz") is None


@pytest.mark.parametrize("repository", [False, True])
def test_without_git_or_commits_there_is_none(tmp_path: Path, repository: bool) -> None:
    if repository:
        subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "dvc.lock").write_text("abc")
    assert recorded_by(tmp_path / "dvc.lock", "abc") is None
