"""The metrics of a workspace as DVC knows them: what Prefect's page shows is read from there."""

from pathlib import Path
from typing import Any

from flows.dvc_graph import open_repo


def metric_rows(root: Path) -> list[dict[str, Any]]:
    """What `dvc metrics show` tells: rows of file, metric (a path in the file, joined by dots) and value.

    A file that is not there, or not sound, has no rows.
    """
    with open_repo(root) as repo:
        shown = repo.metrics.show()
    files = shown.get("", {}).get("data", {})
    return [
        {"file": file, "metric": ".".join(path), "value": value}
        for file, content in sorted(files.items())
        for path, value in _leaves(content.get("data", {}))
    ]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, str(key)))]
