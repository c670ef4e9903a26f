"""Prefect and DVC as this project wants them: everything inside the workspace, nothing sent anywhere."""

import os
from pathlib import Path


def configure(workspace: Path) -> None:
    """Set the environment's defaults; what the user has set already wins. To be called before prefect is imported."""
    for name, value in defaults(workspace.resolve()).items():
        os.environ.setdefault(name, value)


def defaults(workspace: Path) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(workspace / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # The default of 20 s is too short for the first start, which makes the database, on a busy machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
        # Held in memory, limits would stay occupied after a restart of the server.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds, the least; see flows/automations.py
        "DVC_NO_ANALYTICS": "1",
    }


def configure_terminal() -> None:
    """Shorter log lines for a run that a person watches: a stage's lines name the stage themselves."""
    for kind in ("FLOW", "TASK"):
        os.environ.setdefault(f"PREFECT_LOGGING_FORMATTERS_STANDARD_{kind}_RUN_FMT", "%(asctime)s  %(message)s")
