"""A shard computed by another process than the stage's: a Dask worker that sees the same files under the same paths.

What reaches it is an `Order`: names, numbers and paths. It loads the model and the data itself, once for all shards of
an order, and writes the shard where the stage reads it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.code import code_identity
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.objects import import_paths, load_object
from tasks.parameters import Parameters
from tasks.shards import write_shard
from tasks.workspace import Workspace

INTERVAL = 1.0  # seconds between two messages on how far a shard is
Advance = Callable[..., None]  # as `tasks.progress.Progress.advance`
Compute = Callable[[str, Advance], Mapping[str, Tensor]]  # a shard's tensors, from its name


@dataclass(frozen=True)
class Order:
    """All that decides the content of a stage's shards, for a process that has nothing but the files.

    Attributes:
        prepare: `tasks.module:function` that loads what the shards need and returns their `Compute`. It is called with
            workspace, parameters, device and the arguments.
        arguments: strings and numbers.
        workspace: absolute path.
        parameters: of the run, as JSON.
        folder: absolute path of the finished shards.
        device: cpu or cuda.
        threads: of torch; the bits depend on it.
        code: `tasks.code.code_identity` of the stage.
    """

    prepare: str
    arguments: dict[str, Any]
    workspace: str
    parameters: dict[str, Any]
    folder: str
    device: str
    threads: int
    code: list[str]


_alone = threading.Lock()  # torch's random numbers, threads and settings belong to the whole process
_loaded: dict[torch.device, tuple[Order, Compute]] = {}  # the last order's, one at most


def compute_shard(order: Order, name: str, topic: str) -> tuple[float, int]:
    """Compute a shard and write it; tell how far it is as events of a Dask topic.

    Returns:
        seconds that it took, and what it has counted.

    Raises:
        UserError: this process does not see the workspace, runs other code than the stage, or has no such device.
    """
    with _alone:
        _check(order)
        torch.set_num_threads(order.threads)
        root = Path(order.workspace)
        with import_paths(root), _device(order) as device, deterministic():
            start, counted = time.monotonic(), _Counted(name, topic)
            if device not in _loaded or _loaded[device][0] != order:
                _loaded.clear()  # before the next is loaded, lest both lie in memory
                prepare, parameters = load_object(order.prepare, "runner"), Parameters.model_validate(order.parameters)
                _loaded[device] = order, prepare(Workspace(root), parameters, device, **order.arguments)
            tensors = _loaded[device][1](name, counted.advance)
            write_shard(Path(order.folder), name, tensors)
            return time.monotonic() - start, counted.count


def forget() -> None:
    """Drop what was loaded: the stage is done."""
    _loaded.clear()


class _Counted:
    """Counts a shard's progress, and tells Dask of it now and then."""

    def __init__(self, name: str, topic: str) -> None:
        self.name, self.topic, self.count = name, topic, 0
        self._last = time.monotonic()

    def advance(self, count: int, note: str = "") -> None:
        from distributed import get_worker

        self.count += count
        now = time.monotonic()
        if now - self._last >= INTERVAL:
            self._last = now
            get_worker().log_event(self.topic, {"name": self.name, "count": self.count, "note": note})


@contextlib.contextmanager
def _device(order: Order) -> Iterator[torch.device]:
    """A GPU's slot, first that of the GPU on which everything lies already; a worker's CPU needs none."""
    if order.device == "cpu":
        yield torch.device("cpu")
    else:
        with device_slot(order.device, Path(order.folder), first=next(iter(_loaded), None)) as device:
            yield device


def _check(order: Order) -> None:
    if not Path(order.folder).is_dir():
        raise UserError(
            f"a Dask worker does not see {order.folder}: its machine must reach the workspace under the same path as "
            "the machine of the stage"
        )
    if code_identity() != order.code:
        raise UserError(
            "a Dask worker runs another version of this package or of torch than the stage, and would compute other "
            "numbers: install the same on all machines, and start the workers again"
        )
