"""Files that mean harm, for the readers: what Hypothesis makes of sound ones, and how an answer is judged."""

import gzip
import io
import os
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.errors import UserError

LONGER = int(os.environ.get("INFLUENCE_FUZZ_EXAMPLES", "0"))  # of each test; 0: the few of every day, always the same
QUIETLY = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


def fuzzed(examples: int) -> Callable[[Any], Any]:
    """Settings of a test: so many examples, the same every day, or as many new ones as INFLUENCE_FUZZ_EXAMPLES says."""
    return settings(
        max_examples=LONGER or examples,
        derandomize=not LONGER,
        database=None,
        suppress_health_check=QUIETLY,
    )


def outcome(read: Callable[[], Any]) -> Any:
    """What `read` gives, or None where it refuses with one sentence. Any other exception is a failure."""
    try:
        return read()
    except UserError as error:
        sentence = str(error)
        assert sentence and "\n" not in sentence and len(sentence) < 1000, sentence
        return None


@st.composite
def mutated(draw: st.DrawFn, sound: bytes) -> bytes:
    """A sound file with a few bytes changed, taken out, put in or doubled, or cut off somewhere."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["change", "flip", "delete", "insert", "double", "cut"])):
            case "change":
                content[place : place + 4] = draw(st.binary(min_size=1, max_size=4))
            case "flip" if content:
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "delete":
                del content[place : place + draw(st.integers(1, 16))]
            case "insert":
                content[place:place] = draw(st.binary(min_size=1, max_size=16))
            case "double":
                content[place:place] = content[place : place + draw(st.integers(1, 64))]
            case "cut":
                del content[place:]
    return bytes(content)


def harmed(*sound: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes at all, or one of these files mutated, or the same compressed and then mutated."""
    kinds = [st.binary(max_size=200), *(mutated(each) for each in sound)]
    return st.one_of(*kinds, mutated(gzip.compress(sound[0], mtime=0)))


def csv_bytes() -> bytes:
    return 'id,age,town,label\na,1,Rome,x\nb,2.5,"Pa""ris",y\nc,NA,Köln,x\n'.encode()


def parquet_bytes(compression: str = "snappy") -> bytes:
    table = pa.table(
        {
            "id": ["a", "b", "c"],
            "age": [1.0, 2.5, None],
            "town": pa.array(["Rome", "Paris", "Rome"]).dictionary_encode(),
            "picture": [picture_bytes("PNG")] * 3,
            "label": ["x", "y", "x"],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file, compression=compression)
    return file.getvalue()


def picture_bytes(form: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


def idx_bytes(*shape: int) -> bytes:
    count = int(np.prod(shape))
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + bytes(value % 3 for value in range(count))
