"""Waiting for things that happen in other processes, and tests too long for every day."""

import os
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

LONG = pytest.mark.skipif(
    not os.environ.get("INFLUENCE_LONG_TESTS"), reason="takes minutes: set INFLUENCE_LONG_TESTS=1 to run it"
)


def wait_until(happened: Callable[[], Any], seconds: float = 120) -> Any:
    """What `happened` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.25)
    return found


def ask(method: str, url: str, **content: Any) -> Any:
    """What a server answers; one whose SQLite is busy says 503, and is asked again."""

    def answer() -> httpx.Response | None:
        found = httpx.request(method, url, timeout=30, **content)
        return None if found.status_code == 503 else found

    response = wait_until(answer).raise_for_status()
    return response.json() if response.content else None
