"""A stage's shards over the processes of a Dask cluster: `runner` in params.yaml.

Dask moves names and numbers only; shards are read and written on the file system that all processes share.
"""

import contextlib
import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from tasks.code import code_identity
from tasks.device import candidate_devices, gpus_lent
from tasks.errors import UserError
from tasks.parameters import Dask, Parameters
from tasks.progress import Progress
from tasks.shard_worker import Order, compute_shard, forget
from tasks.shards import Elsewhere, Wait
from tasks.workspace import Workspace

LOCAL = "local"
LOOPBACK = "127.0.0.1"
GPU = "GPU"  # the resource that a worker with a GPU offers, one for each
TIMEOUT = 5.0  # seconds in which a scheduler has to answer
PATIENCE = 5.0  # seconds between two looks at whether anybody is at work


class Cluster:
    """The processes that compute the shards of one stage. They are called once there is a shard to compute.

    Args:
        workspace: of the run.
        parameters: of the run.
        runner: which processes.
        device: of the stage; the workers compute on one of the same type.
    """

    def __init__(self, workspace: Workspace, parameters: Parameters, runner: Dask, device: torch.device) -> None:
        self.workspace, self.parameters, self.runner, self.device = workspace, parameters, runner, device
        self._opened = ExitStack()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @cached_property
    def _client(self) -> Any:
        return self._opened.enter_context(_connected(self.runner, self.device))

    def job(self, prepare: str, progress: Progress, **arguments: Any) -> Elsewhere:
        """Shards computed by the workers, for `Shards.run`; see `Order` for the arguments."""

        def computing(folder: Path, names: list[str]) -> AbstractContextManager[Wait]:
            order = Order(
                prepare,
                arguments,
                str(self.workspace.root.resolve()),
                self.parameters.model_dump(mode="json", by_alias=True),
                str(folder.resolve()),
                self.device.type,
                torch.get_num_threads(),
                code_identity(),
            )
            return self._computing(order, names, progress)

        return computing

    @contextlib.contextmanager
    def _computing(self, order: Order, names: list[str], progress: Progress) -> Iterator[Wait]:
        resources = {GPU: 1} if order.device == "cuda" else None
        run = uuid.uuid4().hex
        counts = _Counts(progress)
        self._client.subscribe_topic(run, counts.hear)
        futures = {
            name: self._client.submit(compute_shard, order, name, run, key=f"{name}-{run}", resources=resources)
            for name in names
        }
        try:
            with gpus_lent():
                yield lambda name: self._wait(futures[name], name, counts)
        finally:
            self._client.cancel(list(futures.values()), reason="the stage does not wait for it any more")
            self._client.unsubscribe_topic(run)

    def _wait(self, future: Any, name: str, counts: "_Counts") -> float:
        from distributed import CancelledError
        from distributed.scheduler import KilledWorker

        try:
            alone = False
            while not future.done():
                with contextlib.suppress(TimeoutError):
                    future.exception(timeout=PATIENCE)
                before, alone = alone, not future.done() and not _able(self._client, self.device)
                if alone and not before:
                    print("waiting for a Dask worker: there is none left", flush=True)
            seconds, count = future.result()
        except KilledWorker as error:
            raise UserError(
                f"shard {name} was given up: {error.allowed_failures + 1} Dask workers died over it, perhaps for want "
                "of memory: lower `compute.memory_limit` or the number of workers; what is finished is kept"
            ) from None
        except CancelledError:
            raise UserError(
                "the Dask scheduler has gone away: start it and the run again; what is finished is kept"
            ) from None
        counts.set(name, count)
        return float(seconds)


class _Counts:
    """What is done of every shard, as the workers tell. A shard that a dead worker had begun is counted anew."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, dict[str, int]()
        self._lock = threading.Lock()  # events come in a thread of Dask's

    def hear(self, event: tuple[float, dict[str, Any]]) -> None:
        self.set(event[1]["name"], event[1]["count"], event[1]["note"])

    def set(self, name: str, count: int, note: str = "") -> None:
        with self._lock:
            self._progress.advance(count - self._done.get(name, 0), note)
            self._done[name] = count


def cluster_of(
    workspace: Workspace, parameters: Parameters, device: torch.device
) -> AbstractContextManager[Cluster | None]:
    """The workers that `runner` asks for, for the time of a stage; None where shards run in a loop.

    Raises:
        UserError: Dask is not installed, the scheduler does not answer, or it has no worker that could do it.
    """
    if parameters.runner == "loop":
        return contextlib.nullcontext()
    require_cluster(parameters)
    return Cluster(workspace, parameters, parameters.runner, device)


def require_cluster(parameters: Parameters) -> None:
    """Make sure that what `runner` asks for is there. Raises what `cluster_of` does."""
    if parameters.runner == "loop":
        return
    _distributed()
    if parameters.runner.dask != LOCAL:
        with _connected(parameters.runner, candidate_devices(parameters.compute.device)[0]):
            pass


@contextlib.contextmanager
def _connected(runner: Dask, device: torch.device) -> Iterator[Any]:
    """A client of the cluster. What the workers hold for it goes with it."""
    with _local(runner.workers, device) if runner.dask == LOCAL else contextlib.nullcontext(runner.dask) as cluster:
        try:
            client = _distributed().Client(cluster, timeout=TIMEOUT, set_as_default=False)
        except OSError:
            raise UserError(
                f"`runner.dask`: no Dask scheduler answers at {runner.dask}: start one (`dask scheduler`), correct the "
                "address, or write `runner: loop`"
            ) from None
        with client:
            if not _able(client, device):
                tag = ' --resources "GPU=1"' if device.type == "cuda" else ""
                raise UserError(
                    f"`runner.dask`: the scheduler at {runner.dask} has no worker for `compute.device: {device.type}`: "
                    f"start some with `dask worker {runner.dask} --nthreads 1{tag}`"
                )
            yield client
            with contextlib.suppress(Exception):  # they may be gone by now
                client.run(forget)


def _local(workers: int | None, device: torch.device) -> Any:
    """Processes of this machine that nobody else can reach, and that end with this one."""
    from dask.system import CPU_COUNT
    from distributed import LocalCluster

    gpu = device.type == "cuda"
    most = torch.cuda.device_count() if gpu else max(1, CPU_COUNT // torch.get_num_threads())
    return LocalCluster(
        n_workers=workers or most,
        threads_per_worker=1,
        memory_limit=None,  # what a stage takes is bounded by `compute.memory_limit`
        host=LOOPBACK,
        dashboard_address=f"{LOOPBACK}:0",
        silence_logs=logging.CRITICAL,  # it warns of workers that take long to end
        worker_dashboard_address=f"{LOOPBACK}:0",
        resources={GPU: 1} if gpu else None,
    )


def _able(client: Any, device: torch.device) -> bool:
    """Whether a worker is there that could compute on such a device."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(device.type == "cpu" or worker["resources"].get(GPU, 0) >= 1 for worker in workers)


def _distributed() -> Any:
    try:
        import distributed
    except ModuleNotFoundError as error:
        if error.name != "distributed":
            raise
        raise UserError(
            '`runner.dask` needs Dask, which is not installed: pip install "influence-pipeline[dask]", or write '
            "`runner: loop`"
        ) from None
    return distributed
