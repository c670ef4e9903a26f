"""Flagged workspaces to review, and the page drawn without a browser."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from flows.review.serving import PAGE
from tasks.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[2] / "tasks/reporting"))  # for `synthetic_artifacts`
import synthetic_artifacts as made

SMALL = {"train": 60, "held_out": 20, "planted": 6, "flagged": 8, "findings": 2}


@pytest.fixture
def make_flagged(tmp_path: Path) -> Callable[..., Workspace]:
    """`make_flagged(kind="text", flagged=20)`: as a run leaves it; see synthetic_artifacts.Recipe."""

    def make(folder: str = "workspace", **recipe: Any) -> Workspace:
        return made.build_workspace(tmp_path / folder, made.Recipe(**{**SMALL, **recipe}))

    return make


class Visit:
    """One visitor of the page, drawn in this process."""

    def __init__(self, workspace: Workspace, reviewer: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._arguments = ["page.py", str(workspace.root), reviewer]
        self._monkeypatch = monkeypatch
        self.page = AppTest.from_file(str(PAGE), default_timeout=60)
        self.draw()

    def draw(self) -> None:
        self._monkeypatch.setattr(sys, "argv", self._arguments)
        self.page.run()
        assert not self.page.exception, self.page.exception

    def press(self, key: str) -> None:
        [button] = [button for button in self.page.button if (button.key or "").startswith(f"press-{key}-")]
        assert not button.disabled
        button.click()
        self.draw()

    def can_press(self, key: str) -> bool:
        return any((one.key or "").startswith(f"press-{key}-") and not one.disabled for one in self.page.button)

    def choose(self, key: str, beginning: str) -> None:
        """Choose the option that begins so."""
        [box] = [box for box in self.page.selectbox if (box.key or "").startswith(key)]
        [option] = [option for option in box.options if option.startswith(beginning)]
        box.select(option)
        self.draw()

    @property
    def shown(self) -> str | None:
        """Id of the example shown."""
        current = self.page.session_state.desk.current
        return current.example_id if current else None

    @property
    def html(self) -> str:
        """Everything that the data went into."""
        return "\n".join(element.proto.body for element in self.page.get("html") if "<style>" not in element.proto.body)


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Visit]:
    """`visit(workspace, "ann")` opens the page."""

    def open_page(workspace: Workspace, reviewer: str = "ann") -> Visit:
        return Visit(workspace, reviewer, monkeypatch)

    return open_page
