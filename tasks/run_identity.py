"""The identity of a run: what tells the flags of one run from those of another."""

from tasks.artifacts import content_hash
from tasks.workspace import Workspace


def run_identity(workspace: Workspace) -> str:
    """The first 16 hex digits of the content hash of flags/flags.parquet: the same work has the same identity.

    Raises:
        UserError: there are no flags yet.
    """
    return content_hash(workspace.flags)[:16]
