"""The device a stage computes on, and its slot: one stage at a time on one device."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from tasks.errors import UserError

_held: list[int] = []  # descriptors of the GPUs' slots that this process holds


def candidate_devices(name: str) -> list[torch.device]:
    """The devices `compute.device` allows, preferred first.

    Raises:
        UserError: the name is not a device, or this machine has no such device.
    """
    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if name == "auto":
        return gpus or [torch.device("cpu")]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"`compute.device`: {name!r} is not a device; write auto, cpu, cuda or cuda:1") from None
    if device.type == "cpu":
        return [device]
    if device.type != "cuda":
        raise UserError(f"`compute.device`: {name!r} is not supported; write auto, cpu, cuda or cuda:1")
    matching = [gpu for gpu in gpus if device.index in (None, gpu.index)]
    if not matching:
        raise UserError(f"`compute.device`: {name!r} was asked for, but this machine has {len(gpus)} CUDA devices")
    return matching


@contextlib.contextmanager
def device_slot(name: str, work: Path, first: torch.device | None = None) -> Iterator[torch.device]:
    """Hold the first free device's slot, waiting for one if all are taken.

    The slot is a file lock, which the kernel frees when its holder dies, however it dies. A GPU's slot is shared by
    everything on the machine; the CPU's by the stages of one workspace.

    Args:
        name: `compute.device`.
        work: the workspace's folder for unfinished work.
        first: of the devices that the name allows, the one to try before the others.
    """
    devices = sorted(candidate_devices(name), key=lambda device: device != first)
    waited = False
    while True:
        for device in devices:
            descriptor = _try_lock(_slot_path(device, work))
            if descriptor is not None:
                try:
                    with _lendable(descriptor, device):
                        yield device
                finally:
                    os.close(descriptor)
                return
        if not waited:
            print(f"waiting for a free slot on {', '.join(map(str, devices))}", flush=True)
            waited = True
        time.sleep(0.5)


@contextlib.contextmanager
def gpus_lent() -> Iterator[None]:
    """Meanwhile others may take the GPUs whose slots this process holds, as the workers do that it waits for."""
    for descriptor in _held:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    try:
        yield
    finally:
        for descriptor in _held:
            fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextlib.contextmanager
def _lendable(descriptor: int, device: torch.device) -> Iterator[None]:
    if device.type == "cpu":
        yield
        return
    _held.append(descriptor)
    try:
        yield
    finally:
        _held.remove(descriptor)


def _slot_path(device: torch.device, work: Path) -> Path:
    if device.type == "cpu":
        work.mkdir(parents=True, exist_ok=True)
        return work / "cpu.lock"
    folder = Path(tempfile.gettempdir()) / "influence-slots"
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # other users of the machine share its GPUs
    return folder / f"gpu-{gpu_identity(device)}.lock"


def gpu_identity(device: torch.device) -> str:
    """The GPU's own number: what CUDA_VISIBLE_DEVICES calls cuda:0 is another GPU for every worker."""
    return str(torch.cuda.get_device_properties(device).uuid)


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if os.fstat(descriptor).st_uid == os.getuid():
        os.fchmod(descriptor, 0o666)  # whatever the umask: other users of the machine must be able to open it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
