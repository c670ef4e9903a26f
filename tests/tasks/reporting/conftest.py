"""Workspaces as the stages before the report leave them."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.workspace import Workspace

MODULE = "synthetic_artifacts"


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[..., Workspace]:
    """`make_workspace(kind=..., train=...)` writes all that the report reads; see synthetic_artifacts.Recipe."""
    if MODULE not in sys.modules:
        spec = importlib.util.spec_from_file_location(MODULE, Path(__file__).with_name(f"{MODULE}.py"))
        assert spec is not None and spec.loader is not None
        sys.modules[MODULE] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[MODULE])
    made = sys.modules[MODULE]

    def make(folder: str = "workspace", **recipe: Any) -> Workspace:
        return made.build_workspace(tmp_path / folder, made.Recipe(**recipe))

    return make
