"""Names from the data as the options of a select box."""

from collections.abc import Sequence

from tasks.reporting.formatting import visible


def distinct(names: Sequence[str]) -> list[str]:
    """Names without control characters, each unlike the others: Streamlit tells options apart by what is shown."""
    found: dict[str, None] = {}
    for name in names:
        shown, times = visible(name), 1
        while shown in found:
            times += 1
            shown = f"{visible(name)} ({times})"
        found[shown] = None
    return list(found)
