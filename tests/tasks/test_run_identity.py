from pathlib import Path

import pytest

from tasks.errors import UserError
from tasks.run_identity import run_identity
from tasks.workspace import Workspace


def test_a_run_is_known_by_its_flags(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(UserError, match=r"flags\.parquet is missing"):
        run_identity(workspace)
    workspace.flags.parent.mkdir()
    workspace.flags.write_bytes(b"one")
    first = run_identity(workspace)
    workspace.flags.write_bytes(b"two")
    assert len(first) == 16 and run_identity(workspace) != first
    workspace.flags.write_bytes(b"one")
    assert run_identity(workspace) == first
