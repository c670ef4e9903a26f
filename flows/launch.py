"""One run of a flow from this process, with whatever Prefect server there is."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)
from prefect.states import State

from flows.pipeline import pipeline
from flows.server import temporary_server
from tasks import disk
from tasks.errors import UserError

# When the server goes away these tell, with a page of traceback, of every event and state that it does not hear of.
TALKATIVE = ("prefect._internal.concurrency", "prefect.events.clients", "prefect.flow_runs")


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
    _calm()
    with disk.told(), _some_server():
        try:
            state = start()
        except httpx.HTTPError as error:
            raise UserError(
                f"Prefect's server went away in mid-run ({error}), so that nobody was told how it ended: what was "
                "finished is kept, run again, or go on without it: `dvc repro`"
            ) from None
        except RuntimeError as error:
            raise UserError(
                f"Prefect: {str(error).rstrip('.')}; try again, or run the same stages without it: `dvc repro`"
            ) from None
        if not state.is_completed():
            raise UserError(state.message or "the run did not complete")
        outcomes = state.result()
        assert isinstance(outcomes, dict)
        return outcomes


@contextlib.contextmanager
def _some_server() -> Iterator[None]:
    """The server of PREFECT_API_URL; else one for the time of this run, which ends with this process however it ends.

    Nobody watches such a one: heartbeats, the upload of logs and shards would only cost time. Nor does it come back.
    """
    if PREFECT_API_URL.value():
        yield
        return
    print("Starting Prefect for this run (set PREFECT_API_URL to use a server that runs already) ...", flush=True)
    with temporary_server(PREFECT_HOME.value()) as url:
        settings = {
            PREFECT_API_URL: url,
            PREFECT_CLIENT_MAX_RETRIES: 1,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
            PREFECT_LOGGING_TO_API_ENABLED: False,
        }
        with temporary_settings(settings):
            yield


def _calm() -> None:
    """Where the server is gone one sentence says so, at the end. (Prefect resets levels, but no filters.)"""
    for name in TALKATIVE:
        logging.getLogger(name).addFilter(_is_of_use)


def _is_of_use(record: logging.LogRecord) -> bool:
    if record.name == "prefect.flow_runs":
        return not (record.exc_info and isinstance(record.exc_info[1], httpx.HTTPError))
    return False
