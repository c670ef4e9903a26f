"""Labelled examples as a source gives them: raw, checked, not yet split or encoded."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.errors import UserError

Inputs = np.ndarray | pd.DataFrame | list[str]

AT_ONCE = 8192  # rows made readable at once


def row_number(row: int) -> str:
    """Where a row stands when nothing better is known, counted from 1."""
    return f"row {row + 1}"


@dataclass(frozen=True)
class Examples:
    """N examples.

    Attributes:
        labels: the label of each, not empty.
        inputs: images, uint8 [N, C, H, W]; a table of features (see `tasks.encoding.table`); or texts.
        ids: unique and not empty; None: the hash of the input.
        slices: columns to break results down by, each of N strings.
        classes: every label there may be, in order; None: the labels found.
        contents: what identifies each input, of N strings; None: the input itself. For inputs that are
            derived, such as resized pictures, whose ids must not change with the way they are derived.
        origin: where the row at a position came from, for messages: "row 17 of data.parquet".
    """

    labels: list[str]
    inputs: Inputs
    ids: list[str] | None = None
    slices: dict[str, list[str]] = field(default_factory=dict)
    classes: list[str] | None = None
    contents: list[str] | None = None
    origin: Callable[[int], str] = row_number

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Examples":
        """The examples at these positions, in this order."""
        whole = self.origin  # not `self`: the parts need not keep alive what they were taken from
        return Examples(
            labels=[self.labels[row] for row in rows],
            inputs=take_inputs(self.inputs, rows),
            ids=None if self.ids is None else [self.ids[row] for row in rows],
            slices={name: [values[row] for row in rows] for name, values in self.slices.items()},
            classes=self.classes,
            contents=None if self.contents is None else [self.contents[row] for row in rows],
            origin=lambda row: whole(int(rows[row])),
        )


def require_inside(file: Path, folder: Path) -> None:
    """Raises UserError: a link among the data leads outside their folder."""
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{file} leads outside {folder}: replace the link by the file itself")


def take_inputs(inputs: Inputs, rows: np.ndarray) -> Inputs:
    if isinstance(inputs, pd.DataFrame):
        return inputs.iloc[rows]
    if isinstance(inputs, np.ndarray):
        return inputs[rows]
    return [inputs[row] for row in rows]


def displays(inputs: Inputs) -> Iterator[list[str] | list[None]]:
    """What a person reads of each input: a row as a JSON object, a text; None for an image (drawn).

    They come some thousands at a time: as objects of Python, the fields of all rows would take far more than the data.
    """
    for start in range(0, len(inputs), AT_ONCE):
        block = inputs[start : start + AT_ONCE]
        if isinstance(block, pd.DataFrame):
            yield _rows_as_json(block)
        elif isinstance(block, np.ndarray):
            yield [None] * len(block)
        else:
            yield block


def _rows_as_json(frame: pd.DataFrame) -> list[str]:
    names = [str(name) for name in frame.columns]
    columns = [frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns]
    rows = zip(*columns, strict=True)
    return [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows]


def require_labels(labels: list[str | None], column: str, origin: Callable[[int], str]) -> list[str]:
    """The labels, none of them missing.

    Raises:
        UserError: one is missing, with its row.
    """
    for row, label in enumerate(labels):
        if not label:
            raise UserError(f"missing label in column {column!r} of {origin(row)}: give it a label or remove the row")
    return [label for label in labels if label]
