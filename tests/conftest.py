"""What all tests share: a real browser, a real object store, and children that hear Ctrl-C."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parent / "storage"))  # for `bucket`
from bucket import Bucket, environment, served

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

settings.register_profile("untimed", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Tests started in the background ignore SIGINT, and so would every process they start."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, for one module: Playwright keeps an event loop that other tests must not meet."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI has no chromium or google-chrome")
        pytest.skip("there is no chromium or google-chrome on this machine")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The address of an S3 server on loopback."""
    with served() as address:
        yield address


@pytest.fixture
def bucket(object_store: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket, which s3:// finds in this test and in the processes it starts."""
    import boto3
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # they keep the credentials of the test before
    for name, value in environment(object_store).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    made = Bucket(f"bucket-{uuid4().hex[:12]}", boto3.client("s3"))
    made.client.create_bucket(Bucket=made.name)
    return made
