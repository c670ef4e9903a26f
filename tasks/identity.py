"""The example_id: what a row is called from the data to the verdict on it, wherever it stands."""

import hashlib
from collections import Counter
from itertools import chain

import numpy as np

from tasks.errors import UserError
from tasks.sources.examples import Examples, displays


def example_ids(*data_sets: Examples) -> list[list[str]]:
    """The ids of each data set's rows, unique over all of them.

    They are the ids that the data give. Without these, the first 64 bits of the sha256 of the input in hex,
    not of the label, so that relabelling keeps the id; the second of two equal inputs is `...-2`, and so on.

    Raises:
        UserError: an id is given twice, or is empty.
    """
    if any(examples.ids is None for examples in data_sets):
        return _content_ids(data_sets)
    seen: dict[str, str] = {}
    for examples in data_sets:
        for row, example_id in enumerate(examples.ids or []):
            if not example_id:
                raise UserError(f"empty id in {examples.origin(row)}: give it an id")
            if example_id in seen:
                raise UserError(
                    f"duplicate id {example_id!r} in {seen[example_id]} and in {examples.origin(row)}: "
                    "ids must be unique; correct one, or leave the id column out"
                )
            seen[example_id] = examples.origin(row)
    return [list(examples.ids or []) for examples in data_sets]


def split_keys(examples: Examples, ids: list[str]) -> list[str]:
    """What decides an example's split: its id, or where ids come from the content, what equal inputs have in common."""
    return ids if examples.ids is not None else [example_id.partition("-")[0] for example_id in ids]


def _content_ids(data_sets: tuple[Examples, ...]) -> list[list[str]]:
    count: Counter[str] = Counter()
    ids: list[list[str]] = []
    for examples in data_sets:
        ids.append([])
        for digest in _digests(examples):
            count[digest] += 1
            ids[-1].append(digest if count[digest] == 1 else f"{digest}-{count[digest]}")
    return ids


def _digests(examples: Examples) -> list[str]:
    if examples.contents is None and isinstance(examples.inputs, np.ndarray):
        return [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in examples.inputs]
    contents = examples.contents or chain.from_iterable(displays(examples.inputs))
    return [hashlib.sha256(str(content).encode()).hexdigest()[:16] for content in contents]
