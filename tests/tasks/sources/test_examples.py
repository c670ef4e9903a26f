import gc
import json
import tracemalloc
import weakref

import numpy as np
import pandas as pd
import pytest

from tasks.sources import examples
from tasks.sources.examples import Inputs, displays

FRAME = pd.DataFrame({"age": pd.array([39, None, 50], dtype="Int64"), "job": ["clerk", None, "smith"]})


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (FRAME, ['{"age": 39, "job": "clerk"}', '{"age": null, "job": null}', '{"age": 50, "job": "smith"}']),
        (["one", "two", "three"], ["one", "two", "three"]),
        (np.zeros((3, 1, 2, 2), np.uint8), [None, None, None]),
        ([], []),
    ],
)
def test_what_is_shown_comes_a_few_at_a_time_in_order(
    inputs: Inputs, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "AT_ONCE", 2)
    blocks = list(displays(inputs))
    assert [len(block) for block in blocks] == [2, 1][: len(blocks)]
    assert [shown for block in blocks for shown in block] == expected


def test_a_long_table_is_never_all_there_as_objects_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "AT_ONCE", 256)
    rows, columns = 8 * examples.AT_ONCE, 10
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(rows, columns)), columns=list("abcdefghij"))
    tracemalloc.start()
    found = sum(len(json.loads(block[-1])) for block in displays(frame) if block[-1] is not None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == 8 * columns
    assert peak < rows * columns * (24 + 8)  # what its numbers alone take as floats of Python, in lists


def test_a_part_does_not_keep_alive_what_it_was_taken_from() -> None:
    whole = examples.Examples(["a", "b", "c"], FRAME.copy(), origin=lambda row: f"line {row}")
    left = weakref.ref(whole.inputs)
    part = whole.take(np.array([2, 0])).take(np.array([0]))
    del whole
    gc.collect()
    assert part.origin(0) == "line 2" and part.labels == ["c"]
    assert left() is None
