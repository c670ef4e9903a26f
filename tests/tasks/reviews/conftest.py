"""A flagged workspace, and verdicts without an example behind them."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from stage_runner import run_in

from tasks import flag
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def flagged_once(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read, or copied and changed."""
    root = tmp_path_factory.mktemp("flagged")
    shutil.copytree(scored, root, dirs_exist_ok=True)
    run_in(root, flag.run)
    return root


@pytest.fixture
def flagged(flagged_once: Path, tmp_path: Path) -> Workspace:
    root = tmp_path / "flagged"
    shutil.copytree(flagged_once, root)
    return Workspace(root)


def said(example_id: str, verdict: Any, reviewer: str = "ann", new_label: str | None = None, **shown: Any) -> Verdict:
    ground: dict[str, Any] = {"run": "0" * 16, "kind": "label", "content": "c", "given_label": "cat", **shown}
    return Verdict(example_id, verdict, new_label, reviewer, NOON, **ground)


@pytest.fixture(scope="session")
def make_verdict() -> Callable[..., Verdict]:
    """said("a", "relabel", "ann", "dog", given_label="cat")."""
    return said
