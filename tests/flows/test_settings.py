"""Defaults are set, and what the user has set wins."""

import os
from pathlib import Path

import pytest

from flows.settings import configure, defaults


def test_everything_lies_in_the_workspace_and_nothing_is_sent(tmp_path: Path, clean_settings: None) -> None:
    configure(tmp_path)
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".prefect")
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert os.environ["DO_NOT_TRACK"] == os.environ["DVC_NO_ANALYTICS"] == "1"
    for name in defaults(tmp_path):
        del os.environ[name]


def test_the_users_settings_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_settings: None) -> None:
    for name in defaults(tmp_path):
        monkeypatch.setenv(name, "theirs")
    configure(tmp_path)
    assert {os.environ[name] for name in defaults(tmp_path)} == {"theirs"}
