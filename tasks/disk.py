"""What the file system refuses, said in one sentence: a full disk, a folder that cannot be written."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from tasks.errors import UserError

FULL = "the disk is full"
MENDED_BY = {
    errno.ENOSPC: f"{FULL}: free some space and run again; what was finished is kept",
    errno.EDQUOT: "your share of the disk is used up: free some space and run again; what was finished is kept",
    errno.EFBIG: "a file would be larger than is allowed here: raise the limit (`ulimit -f`) and run again",
    errno.EROFS: "the file system is read-only: make it writable, or work in a copy of the workspace elsewhere",
    errno.EACCES: "permission denied: let the user who runs this read and write there",
    errno.EPERM: "permission denied: let the user who runs this read and write there",
    errno.EIO: "the disk does not answer as it should: look at its health before running again",
}
IN_WORDS = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")  # safetensors, and whatever passes on Python's own text


def sentence(error: BaseException) -> str | None:
    """The user's side of an error of the file system; None if it is of another kind."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := IN_WORDS.search(str(error))):
        number = int(found[1] or found[2])
    if number not in MENDED_BY:
        return None
    name = error.filename if isinstance(error, OSError) else None
    return f"{os.fsdecode(name)}: {MENDED_BY[number]}" if isinstance(name, str | bytes) else MENDED_BY[number]


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raise what the file system refuses as a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if said := sentence(error):
            raise UserError(said) from error
        raise
