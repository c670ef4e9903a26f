"""Work cut into shards: finished ones outlive a kill, and nothing made from other inputs is ever reused."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor

from tasks import journal
from tasks.digest import KEY, digest
from tasks.errors import UserError
from tasks.objects import load_object
from tasks.tensors import read_tensors, write_tensors

RUNNER = "INFLUENCE_SHARD_RUNNER"  # package.module:function that runs the shards, where not a plain loop
Compute = Callable[[str], Mapping[str, Tensor]]
Wait = Callable[[str], float]  # for another process to finish a shard; returns the seconds it took
Elsewhere = Callable[[Path, list[str]], AbstractContextManager[Wait]]  # begins to compute shards into a folder


class Shards:
    """The finished shards of one computation, in a folder named by the hash of all that decides their content.

    Args:
        work: the workspace's folder for unfinished work.
        stage: who works.
        fingerprint: see `tasks.artifacts.fingerprint`. Folders of other fingerprints are removed.
    """

    def __init__(self, work: Path, stage: str, fingerprint: str) -> None:
        self.stage, self.folder = stage, work / stage / fingerprint
        if self.folder.parent.exists():
            for other in self.folder.parent.iterdir():
                if other != self.folder:
                    shutil.rmtree(other)
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, names: list[str], compute: Compute, elsewhere: Elsewhere | None = None) -> None:
        """Compute and keep the shards that are not there yet.

        Args:
            names: of the shards.
            compute: gives a shard's tensors, in this process.
            elsewhere: instead of it, other processes at the same time; see `tasks.cluster`.
        """
        missing = [name for name in names if not self._is_sound(name)]
        if len(missing) < len(names):
            print(f"{self.stage}: {len(names) - len(missing)} shards reused, {len(missing)} to do", flush=True)
            journal.record("shards reused", names=[name for name in names if name not in missing])

        def here(name: str) -> float:
            start = time.monotonic()
            write_shard(self.folder, name, compute(name))
            return time.monotonic() - start

        with elsewhere(self.folder, missing) if elsewhere and missing else contextlib.nullcontext(here) as finish:

            def keep(name: str) -> None:
                with journal.shard(name):
                    journal.record("shard finished", seconds=finish(name))

            _runner()(self.stage, missing, keep)

    def read(self, name: str) -> dict[str, Tensor]:
        """A finished shard's tensors, on the CPU."""
        return read_tensors(self._path(name))[0]

    def done(self, name: str) -> bool:
        return self._path(name).exists()

    def remove(self) -> None:
        """Drop everything, once the stage's outputs are written."""
        shutil.rmtree(self.folder.parent)

    def keep(self, names: Collection[str]) -> None:
        """Drop all but these, which the next run may meet again: their names must tell what they are made of."""
        wanted = {self._path(name) for name in names}
        for path in self.folder.iterdir():
            if path not in wanted:
                path.unlink()

    def _path(self, name: str) -> Path:
        return shard_path(self.folder, name)

    def _is_sound(self, name: str) -> bool:
        """Whether the shard is there as it was written."""
        if not self.done(name):
            return False
        try:
            tensors, metadata = read_tensors(self._path(name))
            sound = metadata.get(KEY) == digest(tensors)
        except UserError:
            sound = False
        if not sound:
            print(f"{self.stage}: shard {name} of an earlier run is damaged and is computed anew", flush=True)
            journal.record("shard damaged", name=name)
        return sound


def shard_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def write_shard(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Write a finished shard, with what tells later whether it is still as it was written."""
    write_tensors(shard_path(folder, name), tensors, {KEY: digest(tensors)})


def _runner() -> Callable[[str, list[str], Callable[[str], None]], None]:
    """The runner that the caller's environment names; a loop without one."""
    spec = os.environ.get(RUNNER)
    return load_object(spec, RUNNER) if spec else _loop


def _loop(stage: str, names: list[str], compute: Callable[[str], None]) -> None:
    for name in names:
        compute(name)
