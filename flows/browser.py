"""Pages that a command has written, shown to the person who asked."""

import os
import sys
from pathlib import Path


def open_page(page: Path) -> None:
    """Open a file in the browser, or say that there is no display."""
    import webbrowser

    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform != "linux":
        webbrowser.open(page.resolve().as_uri())
    else:
        print("There is no display here; open the file in a browser elsewhere.")
