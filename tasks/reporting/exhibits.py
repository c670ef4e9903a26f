"""What a person is shown of an example: its picture, its row, or its text, cut to what a page can hold."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.artifacts import read_json
from tasks.errors import UserError
from tasks.reporting.pictures import Picture, encode_picture
from tasks.workspace import SplitName, Workspace

TEXT_LIMIT = 2000  # characters of a text that reach the page
VALUE_LIMIT = 300  # characters of one field of a row
FIELD_LIMIT = 80  # fields of a row
SNIPPET_LIMIT = 140
BATCH = 1024  # rows read at a time


@dataclass(frozen=True)
class Exhibit:
    """One example as shown.

    Attributes:
        picture: position in `Gallery.pictures`; None where the example is no image.
        fields: name and value of each feature of a row.
        text: a text, or what else a person can read.
        omitted: characters of the text, or fields of the row, that are not shown.
    """

    picture: int | None = None
    fields: tuple[tuple[str, str], ...] = ()
    text: str = ""
    omitted: int = 0

    @property
    def snippet(self) -> str:
        """One short line."""
        line = ", ".join(f"{name}: {value}" for name, value in self.fields) if self.fields else self.text
        line = " ".join(line[: 4 * SNIPPET_LIMIT].split())
        return line if len(line) <= SNIPPET_LIMIT else line[: SNIPPET_LIMIT - 1] + "…"


@dataclass
class Gallery:
    """The examples a page shows, each distinct picture once."""

    exhibits: dict[str, Exhibit] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)

    def __getitem__(self, example_id: str) -> Exhibit:
        return self.exhibits.get(example_id, Exhibit())

    def of(self, example_id: str) -> Picture | None:
        position = self[example_id].picture
        return None if position is None else self.pictures[position]


def load_gallery(workspace: Workspace, wanted: Mapping[SplitName, Iterable[str]]) -> Gallery:
    """Read the examples to be shown, by split, a batch of rows at a time.

    Raises:
        UserError: a split is missing.
    """
    gallery = Gallery()
    kind = read_json(workspace.encoding)["kind"]
    positions: dict[str, int] = {}
    for split, ids in wanted.items():
        value_set = pa.array(sorted(set(ids)), pa.string())
        if len(value_set) == 0:
            continue
        for batch in _batches(workspace, split, kind):
            chosen = pc.indices_nonzero(pc.is_in(batch["example_id"], value_set=value_set))
            for row in chosen.to_pylist():
                _add(gallery, positions, batch, row, kind)
    return gallery


def _batches(workspace: Workspace, split: SplitName, kind: str) -> Iterable[pa.RecordBatch]:
    path = workspace.split(split)
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the stage prepare with `influence run` or `dvc repro`") from None
    columns = ["example_id", "display", *(["input"] if kind == "image" else [])]
    return file.iter_batches(batch_size=BATCH, columns=columns)


def _add(gallery: Gallery, positions: dict[str, int], batch: pa.RecordBatch, row: int, kind: str) -> None:
    example_id: str = batch["example_id"][row].as_py()
    display: str | None = batch["display"][row].as_py()
    if display is not None:
        gallery.exhibits[example_id] = describe(display, kind)
        return
    if "input" not in batch.schema.names:
        return
    picture = encode_picture(batch["input"][row].to_numpy())
    position = positions.setdefault(picture.uri, len(gallery.pictures))
    if position == len(gallery.pictures):
        gallery.pictures.append(picture)
    gallery.exhibits[example_id] = Exhibit(picture=position)


def describe(display: str, kind: str, text_limit: int = TEXT_LIMIT) -> Exhibit:
    """A table's row (a JSON object) as its fields, anything else as text; both cut to these limits."""
    row = as_object(display) if kind == "table" else None
    if row is not None:
        shown = tuple((_cut(str(name)), _cut(_value(value))) for name, value in list(row.items())[:FIELD_LIMIT])
        return Exhibit(fields=shown, omitted=max(len(row) - FIELD_LIMIT, 0))
    return Exhibit(text=display[:text_limit], omitted=max(len(display) - text_limit, 0))


def as_object(display: str) -> dict[str, object] | None:
    """A table's row; None where this is none."""
    if not display.startswith("{"):
        return None
    try:
        row = json.loads(display)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _value(value: object) -> str:
    if value is None:
        return "missing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_LIMIT else text[:VALUE_LIMIT] + "…"
