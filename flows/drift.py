"""Drift, as the last report found it: told to Prefect's server, and an exit code for whoever started the run."""

from pathlib import Path

from flows.alerts import DRIFT, tell
from tasks.artifacts import read_json
from tasks.workspace import Workspace

EXIT_CODE = 3  # of `influence run --fail-on-drift`


def drift(root: Path) -> list[str]:
    """What the last report says of drift, a sentence an alert; empty where there is no report or no drift."""
    path = Workspace(root).report_metrics
    return [alert["words"] for alert in read_json(path).get("drift", [])] if path.exists() else []


def tell_drift(root: Path) -> str | None:
    """Tell the server of all alerts in one event.

    Returns:
        what was told.
    """
    message = " ".join(drift(root)) or None
    if message is not None:
        tell(DRIFT, root, message)
    return message
