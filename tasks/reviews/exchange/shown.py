"""What a person is shown of an example in another tool: its text, its row, or its picture."""

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tasks.artifacts import read_table
from tasks.reporting.pictures import encode_picture
from tasks.workspace import SPLITS, Workspace

LARGEST_SIDE = 1024  # of a picture


@dataclass(frozen=True)
class Shown:
    """A text or a row (a JSON object), or else a picture as a data URI."""

    display: str | None
    picture: str | None


def load_shown(workspace: Workspace, wanted: Collection[str]) -> dict[str, Shown]:
    """The wanted examples, wherever they stand.

    Raises:
        UserError: a split is missing.
    """
    ids = pa.array(sorted(wanted), pa.string())
    found: dict[str, Shown] = {}
    for split in SPLITS:
        table = read_table(workspace.split(split), ["example_id", "input", "display"])
        table = table.filter(pc.is_in(table["example_id"], ids))
        names, displays = table["example_id"].to_pylist(), table["display"].to_pylist()
        for row, (name, display) in enumerate(zip(names, displays, strict=True)):
            if display is not None:
                found[name] = Shown(display, None)
            else:
                found[name] = Shown(None, encode_picture(table["input"][row].to_numpy(), LARGEST_SIDE).uri)
    return found
