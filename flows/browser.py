"""Pages that a command has written, shown to the person who asked."""

import os
import sys
from pathlib import Path


def open_page(page: Path) -> None:
    """Open a file in the browser, or say that there is no display."""
    open_address(page.resolve().as_uri())


def open_address(address: str) -> None:
    """Open an address in the browser, or say that there is no display."""
    import webbrowser

    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform != "linux":
        webbrowser.open(address)
    else:
        print("There is no display here; open it in a browser elsewhere.")
