"""Shards over Dask: the bytes of one process, whoever dies; loopback alone; every failure one sentence."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker
from stage_runner import run_in

from influence.retraining import Run
from tasks import device as devices
from tasks import precondition, score
from tasks.cluster import Cluster, _Counts, require_cluster
from tasks.code import code_identity
from tasks.dataset import load_split
from tasks.errors import UserError
from tasks.parameters import Compute, Dask, Parameters, load_parameters
from tasks.progress import Progress
from tasks.shard_worker import Order, compute_shard
from tasks.shards import Shards
from tasks.validation.retrainer import Retrainer
from tasks.workspace import Workspace

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
OUTPUTS = (
    "curvature/factors.safetensors",
    "curvature/queries.safetensors",
    "scores/self.parquet",
    "scores/top.parquet",
)
CopyScored = Callable[..., Workspace]

DYING = """
import os, signal
from pathlib import Path
from tasks.score import scorer as real

def scorer(workspace, parameters, device):
    compute = real(workspace, parameters, device)

    def once_dying(name, advance):
        def die(count, note=""):
            advance(count, note)
            try:
                (workspace.root / "died").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

        return compute(name, die)

    return once_dying
"""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers, each a process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=None, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as workers:
        yield workers.scheduler_address


@pytest.fixture
def over(copy_scored: CopyScored) -> Callable[..., Workspace]:
    """`over(address)`: a copy of the scored workspace without its scores and solutions, whose shards go to Dask."""

    def copy(address: str, name: str = "dask") -> Workspace:
        workspace = copy_scored(name)
        for path in OUTPUTS:
            (workspace.root / path).unlink()
        for path in (workspace.work / "score", workspace.work / "precondition"):
            for shard in path.glob("*/*"):
                shard.unlink()
        with workspace.parameters.open("a") as file:
            file.write(f"runner: {{dask: '{address}'}}\n")
        return workspace

    return copy


def assert_same(ours: Path, theirs: Path) -> None:
    for path in OUTPUTS:
        assert (ours / path).read_bytes() == (theirs / path).read_bytes(), path


def test_two_processes_give_the_bytes_of_one(scored: Path, over: Callable[..., Workspace], scheduler: str) -> None:
    workspace = over(scheduler)
    for stage in (precondition.run, score.run):
        run_in(workspace.root, stage)
    assert_same(workspace.root, scored)


def test_a_worker_killed_within_a_shard_costs_nothing_but_time(
    scored: Path, over: Callable[..., Workspace], scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = over(scheduler)
    (workspace.root / "dying_scorer.py").write_text(DYING)
    run_in(workspace.root, precondition.run)
    job = Cluster.job
    monkeypatch.setattr(Cluster, "job", lambda self, _, progress: job(self, "dying_scorer:scorer", progress))
    run_in(workspace.root, score.run)
    assert (workspace.root / "died").exists()
    assert_same(workspace.root, scored)


def test_retrainings_by_the_workers_are_those_of_one_process(copy_scored: CopyScored, scheduler: str) -> None:
    workspace, parameters = copy_scored("dask"), parameters_over(copy_scored("loop"), scheduler)
    train, validation = load_split(workspace, "train"), load_split(workspace, "validation")
    runs = [Run(np.arange(size), seed) for size, seed in ((80, 1), (80, 2**62), (70, 3))]
    loop = Retrainer(Workspace(workspace.root.parent / "loop"), parameters, train, validation, CPU)
    with Cluster(workspace, parameters, Dask(dask=scheduler), CPU) as workers:
        ours = Retrainer(workspace, parameters, train, validation, CPU, workers).losses(runs, "by Dask")
    assert torch.equal(ours, loop.losses(runs, "in a loop"))
    assert [path.suffix for path in (workspace.work / "validate").glob("*/*")] == [".safetensors"] * 2


def test_a_local_cluster_is_heard_on_loopback_alone_and_ends(copy_scored: CopyScored, scored: Path) -> None:
    workspace = copy_scored("local")
    parameters, names = parameters_over(workspace, "local"), finished(scored, "score")
    shards = Shards(workspace.work, "score", "new")
    before = set(workers_of_this_process())
    with Cluster(workspace, parameters, Dask(dask="local", workers=1), CPU) as workers:
        assert set(workers_of_this_process()) == before  # none before one is needed
        shards.run(list(names), never, workers.job("tasks.score:scorer", Progress("score", 150)))
        started = [child for child in workers_of_this_process() if child not in before]
        listening = [
            socket.laddr.ip
            for process in [psutil.Process(), *started]
            for socket in process.net_connections("inet")
            if socket.status == psutil.CONN_LISTEN
        ]
    assert len(started) == 1 and len(listening) >= 4 and set(listening) == {"127.0.0.1"}
    assert finished(workspace.root, "score") == names
    deadline = time.monotonic() + 20
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in started):
        assert time.monotonic() < deadline
        time.sleep(0.1)


NAMING = """
import torch
from distributed import get_worker

def naming(workspace, parameters, device):
    return lambda name, advance: {"worker": torch.tensor(int(get_worker().name)), "gpu": torch.tensor(device.index)}
"""


def test_shards_for_a_gpu_go_to_workers_that_offer_one_and_the_stage_lends_them_its_own(
    copy_scored: CopyScored, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a pretended GPU: the stage holds its slot, and would wait for ever for a worker that waits for the slot."""
    from distributed import LocalCluster, Worker

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "gpu_identity", lambda gpu: f"number-{gpu.index}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    workspace, options = copy_scored("gpu"), {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    (workspace.root / "naming_shards.py").write_text(NAMING)
    shards = Shards(workspace.work, "score", "new")
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", **options) as scheduler:
        address = scheduler.scheduler_address
        parameters = parameters_over(workspace, address).model_copy(update={"compute": Compute(device="cuda")})
        with pytest.raises(UserError, match=r'no worker for `compute.device: cuda`: .* --resources "GPU=1"'):
            require_cluster(parameters)
        scheduler.worker_spec["7"] = {
            "cls": Worker,
            "options": {"nthreads": 1, "resources": {"GPU": 1}, "host": "127.0.0.1", "name": "7"},
        }
        scheduler.sync(scheduler._correct_state)
        require_cluster(parameters)
        with (
            devices.device_slot("cuda", workspace.work) as device,
            Cluster(workspace, parameters, Dask(dask=address), device) as workers,
        ):
            shards.run(["a", "b", "c"], never, workers.job("naming_shards:naming", Progress("score", 3)))
    for name in ("a", "b", "c"):
        assert {key: int(value) for key, value in shards.read(name).items()} == {"worker": 7, "gpu": 0}


def test_a_scheduler_that_does_not_answer_is_told_within_seconds(copy_scored: CopyScored) -> None:
    parameters, start = parameters_over(copy_scored("lonely"), "tcp://127.0.0.1:1"), time.monotonic()
    with pytest.raises(UserError, match=r"^`runner.dask`: no Dask scheduler answers at tcp://127\.0\.0\.1:1: "):
        require_cluster(parameters)
    assert time.monotonic() - start < 30


def test_dask_that_is_not_installed_is_told(copy_scored: CopyScored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r'not installed: pip install "influence-pipeline\[dask\]"'):
        require_cluster(parameters_over(copy_scored("bare"), "local"))


def test_a_worker_of_another_version_or_without_the_files_refuses(tmp_path: Path) -> None:
    order = Order("tasks.score:scorer", {}, str(tmp_path), {}, str(tmp_path / "shards"), "cpu", 1, code_identity())
    with pytest.raises(UserError, match=r"a Dask worker does not see .*/shards: its machine must reach the workspace"):
        compute_shard(order, "0000", "topic")
    (tmp_path / "shards").mkdir()
    with pytest.raises(UserError, match="a Dask worker runs another version of this package or of torch"):
        compute_shard(replace(order, code=["0.0.0", *code_identity()[1:]]), "0000", "topic")


def test_what_a_worker_cannot_do_is_one_sentence_of_the_stage(copy_scored: CopyScored, scheduler: str) -> None:
    workspace = copy_scored("broken")
    workspace.factors.unlink()
    shards = Shards(workspace.work, "score", "new")
    with (
        Cluster(workspace, parameters_over(workspace, scheduler), Dask(dask=scheduler), CPU) as workers,
        pytest.raises(UserError, match=r"curvature/factors\.safetensors is missing: run the stage that writes it"),
    ):
        shards.run(["0000"], never, workers.job("tasks.score:scorer", Progress("score", 150)))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KilledWorker("0000-1", None, 3), "shard 0000 was given up: 4 Dask workers died over it"),  # type: ignore[arg-type]
        (FutureCancelledError("0000-1", "scheduler-connection-lost"), "the Dask scheduler has gone away"),
    ],
)
def test_what_dask_gives_up_is_told(copy_scored: CopyScored, error: Exception, sentence: str) -> None:
    class Future:
        def done(self) -> bool:
            return True

        def result(self) -> None:
            raise error

    workspace, address = copy_scored("lost"), "tcp://127.0.0.1:1"
    workers = Cluster(workspace, parameters_over(workspace, address), Dask(dask=address), CPU)
    with pytest.raises(UserError, match=sentence):
        workers._wait(Future(), "0000", _Counts(Progress("score", 1)))


def test_what_a_dead_worker_had_counted_is_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    counts = _Counts(Progress("score", 100, interval=0.0))
    for count, shown in ((30, 30), (10, 10), (40, 40)):  # the second worker begins the shard again
        counts.set("a", count)
        assert f"score: {shown} of 100 examples" in capsys.readouterr().out
    counts.hear((0.0, {"name": "b", "count": 5, "note": "residual 0.1"}))
    assert "score: 45 of 100 examples" in capsys.readouterr().out


def workers_of_this_process() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any("spawn_main" in argument for argument in child.cmdline())]


def finished(root: Path, stage: str) -> dict[str, bytes]:
    """The finished shards, by name."""
    return {path.stem: path.read_bytes() for path in sorted((root / ".work" / stage).glob("*/*.safetensors"))}


def never(name: str) -> Any:
    raise AssertionError(f"shard {name} was computed in this process")


def parameters_over(workspace: Workspace, address: str) -> Parameters:
    return load_parameters(workspace.parameters).model_copy(update={"runner": Dask(dask=address)})
