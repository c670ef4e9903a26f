"""Waiting for things that happen in other processes, and tests too long for every day."""

import os
import time
from collections.abc import Callable
from typing import Any

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
