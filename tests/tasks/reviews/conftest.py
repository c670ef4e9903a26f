"""A flagged workspace, and verdicts without an example behind them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from stage_runner import run_in

from tasks import flag
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def flagged(copy_scored: Callable[..., Workspace]) -> Workspace:
    workspace = copy_scored("flagged")
    run_in(workspace.root, flag.run)
    return workspace


def said(example_id: str, verdict: Any, reviewer: str = "ann", new_label: str | None = None, **shown: Any) -> Verdict:
    ground: dict[str, Any] = {"run": "0" * 16, "kind": "label", "content": "c", "given_label": "cat", **shown}
    return Verdict(example_id, verdict, new_label, reviewer, NOON, **ground)


@pytest.fixture(scope="session")
def make_verdict() -> Callable[..., Verdict]:
    """said("a", "relabel", "ann", "dog", given_label="cat")."""
    return said
