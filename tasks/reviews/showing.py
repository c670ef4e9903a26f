"""What a reviewer sees of examples: their picture, row or text, with the label that the model learned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.artifacts import read_json
from tasks.errors import UserError
from tasks.reporting.exhibits import Exhibit, as_object, describe
from tasks.reporting.pictures import Picture, encode_picture
from tasks.reviews.content import contents
from tasks.workspace import SplitName, Workspace

PICTURE_SIDE = 512  # pixels; a picture fills the page here, not a cell of a table
TEXT_LIMIT = 20_000  # characters of a text that reach the page
BATCH = 1024  # rows read at a time


@dataclass(frozen=True)
class Shown:
    """One example as it stands in the prepared data now.

    Attributes:
        example_id: its own.
        label: what the model learned.
        content: hash of its input, to be compared with that of the question.
        picture: of an image.
        row: of a table, as read.
        exhibit: the row or text, cut to what a page can hold; empty for an image.
    """

    example_id: str
    label: str
    content: str
    picture: Picture | None
    row: Mapping[str, object] | None
    exhibit: Exhibit


def load_shown(workspace: Workspace, wanted: Mapping[SplitName, Iterable[str]]) -> dict[str, Shown]:
    """Read the wanted examples of each split, a batch of rows at a time; those that are gone are left out.

    Raises:
        UserError: a split is missing or damaged.
    """
    kind = read_json(workspace.encoding)["kind"]
    found: dict[str, Shown] = {}
    for split, ids in wanted.items():
        value_set = pa.array(sorted(set(ids)), pa.string())
        if not len(value_set):
            continue
        path = workspace.split(split)
        try:
            for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["example_id", "label", "display", "input"]):
                rows = pa.Table.from_batches([batch.filter(pc.is_in(batch["example_id"], value_set=value_set))])
                found.update((shown.example_id, shown) for shown in _shown(rows, kind))
        except FileNotFoundError:
            raise UserError(f"{path} is missing: run the stage prepare with `influence run` or `dvc repro`") from None
        except pa.ArrowException as error:
            raise UserError(f"{path} is damaged ({' '.join(str(error).split())}): rerun the stage prepare") from None
    return found


def _shown(rows: pa.Table, kind: str) -> Iterable[Shown]:
    if not len(rows):
        return
    names, labels, displays = (rows[name].to_pylist() for name in ("example_id", "label", "display"))
    for place, (name, label, display, content) in enumerate(zip(names, labels, displays, contents(rows), strict=True)):
        if display is None:
            picture = encode_picture(rows["input"][place].to_numpy(), PICTURE_SIDE)
            yield Shown(name, label, content, picture, None, Exhibit())
        else:
            row = as_object(display) if kind == "table" else None
            yield Shown(name, label, content, None, row, describe(display, kind, TEXT_LIMIT))
