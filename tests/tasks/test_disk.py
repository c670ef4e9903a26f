"""What the file system refuses, in one sentence."""

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from tasks import disk
from tasks.errors import UserError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "model/weights"), "^model/weights: the disk is full: free"),
        (OSError(errno.ENOSPC, "No space left on device"), "^the disk is full: free"),
        (OSError(errno.EROFS, "Read-only file system", b"model"), "^model: the file system is read-only"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "^the disk is full"),
        (RuntimeError("[Errno 13] Permission denied: 'x'"), "^permission denied"),
    ],
)
def test_it_is_said_how_to_mend_it(error: Exception, message: str) -> None:
    with pytest.raises(UserError, match=message), disk.told():
        raise error


@pytest.mark.parametrize("error", [OSError("odd"), KeyError("lost"), FileNotFoundError(errno.ENOENT, "no", "x")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, disk.told():
        raise error
    assert raised.value is error


def test_a_real_refusal(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="full"), disk.told(), Path("/dev/full").open("w") as file:
        file.write("x" * 100_000)
