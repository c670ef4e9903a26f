"""`influence doctor`: what is wrong with a workspace is mended, or said."""

import subprocess
from collections.abc import Callable

import pytest
from toy import Toy

from flows import health

Influence = Callable[..., subprocess.CompletedProcess[str]]


def test_a_sound_workspace_has_nothing(toy: Toy, influence: Influence) -> None:
    done = influence(toy.root, "doctor")
    assert (done.returncode, done.stdout) == (0, "Nothing more to mend.\n"), done.stdout + done.stderr


def test_what_a_crash_leaves_is_told_and_then_mended(toy: Toy, influence: Influence) -> None:
    toy.dvc("repro")
    rwlock, part = toy.root / ".dvc/tmp/rwlock", toy.root / "report/.index.html.999999999-abc.part"
    rwlock.write_text("")
    (toy.root / "dvc.lock").write_text("{")
    part.write_text("half")
    dry = influence(toy.root, "doctor", "--dry-run")
    assert dry.returncode == 1 and len(dry.stdout.splitlines()) == 3, dry.stdout + dry.stderr
    assert all(name in dry.stdout for name in ("rwlock", "dvc.lock", part.name))
    assert rwlock.exists() and part.exists() and (toy.root / "dvc.lock").exists()
    done = influence(toy.root, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": done: ") == 3 and done.stdout.endswith("Nothing more to mend.\n")
    assert not rwlock.exists() and not part.exists() and not (toy.root / "dvc.lock").exists()
    assert "Running stage" not in toy.dvc("repro")


def test_a_wrong_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(health.packages()) == []
    installed = {"fastapi": "0.165.0", "sqlalchemy": "2.1.9"}
    monkeypatch.setattr(health, "version", lambda name: installed.get(name) or _version(name))
    found = list(health.packages())
    assert [one.problem.split()[:2] for one in found] == [["fastapi", "0.165.0"], ["sqlalchemy", "2.1.9"]]
    assert all(one.mend is None for one in found)
    assert found[0].remedy == 'run: pip install "fastapi<0.151,>=0.139"'


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "rich":
            raise health.PackageNotFoundError(name)
        return _version(name)

    monkeypatch.setattr(health, "version", version)
    (found,) = health.packages()
    assert found.problem == "rich is not installed"


_version = health.version
