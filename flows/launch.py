"""One run of a flow from this process, with whatever Prefect server there is."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_LOGGING_CONFIG_PATH,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_LOGGING_LEVEL,
    temporary_settings,
)
from prefect.states import State

from flows.pipeline import pipeline
from tasks.artifacts import write_text
from tasks.errors import UserError


def launch(root: Path, targets: list[str] | None = None, force: bool = False, push: bool = False) -> dict[str, str]:
    """Run the pipeline once.

    Returns:
        the outcome of every stage.

    Raises:
        UserError: a stage failed, with its own sentence, or the server of PREFECT_API_URL does not answer.
    """
    return run_to_end(lambda: pipeline(str(root), targets or None, force, push, return_state=True))


def run_to_end(start: Callable[[], State[Any]]) -> dict[str, str]:
    """Run a flow that returns the outcome of every stage.

    Raises:
        UserError: it failed, with its own sentence, or the server of PREFECT_API_URL does not answer.
    """
    with _settings():
        try:
            state = start()
        except RuntimeError as error:
            raise UserError(
                f"Prefect: {str(error).rstrip('.')}; try again, or run the same stages without it: `dvc repro`"
            ) from None
        if not state.is_completed():
            raise UserError(state.message or "the run did not complete")
        outcomes = state.result()
        assert isinstance(outcomes, dict)
        return outcomes


def _settings() -> contextlib.AbstractContextManager[object]:
    """Without a lasting server nobody watches: heartbeats and the upload of logs would only cost time.

    The server of this run alone is stopped while it still writes down the last events; its complaint about that, a page
    of traceback, is of no use to anyone.
    """
    if PREFECT_API_URL.value():
        return contextlib.nullcontext()
    print("Starting Prefect for this run (set PREFECT_API_URL to use a server that runs already) ...", flush=True)
    return temporary_settings(
        {
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
            PREFECT_LOGGING_TO_API_ENABLED: False,
            PREFECT_LOGGING_CONFIG_PATH: _logging_without_database(),
            PREFECT_SERVER_LOGGING_LEVEL: "CRITICAL",
        }
    )


def _logging_without_database() -> Path:
    """Prefect's logging configuration, less what its database's library says; the user's own where there is one."""
    own = PREFECT_LOGGING_CONFIG_PATH.value()
    if own.exists():
        return own
    configuration = yaml.safe_load(DEFAULT_LOGGING_SETTINGS_PATH.read_text())
    configuration["loggers"]["sqlalchemy"] = {"level": "CRITICAL"}
    path = PREFECT_HOME.value() / "logging-of-one-run.yml"
    write_text(path, yaml.safe_dump(configuration))
    return path
