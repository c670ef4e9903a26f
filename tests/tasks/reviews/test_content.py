"""What an example's input is known by."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from tasks.artifacts import read_table
from tasks.reviews.content import contents
from tasks.workspace import Workspace


def test_an_image_is_known_by_its_pixels_wherever_it_stands(
    make_prepared: Callable[..., Workspace], tmp_path: Path
) -> None:
    table = read_table(make_prepared(tmp_path, count=9, held_out=5).split("train"))
    pixels = table["input"].combine_chunks().to_numpy_ndarray()
    known = contents(table)
    assert known == [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in pixels]
    assert len(set(known)) == 9
    some = table.take([7, 2])
    assert contents(some) == [known[7], known[2]]
    assert contents(pa.concat_tables([table.slice(0, 4), table.slice(4)])) == known


def test_a_text_or_row_is_known_by_what_a_person_reads_and_not_by_its_encoding() -> None:
    one = pa.table({"input": [[1.0], [2.0]], "display": ["a text", "another"]})
    other = pa.table({"input": [[5.0], [6.0]], "display": ["a text", "changed"]})
    assert contents(one)[0] == contents(other)[0] == hashlib.sha256(b"a text").hexdigest()[:16]
    assert contents(one)[1] != contents(other)[1]
