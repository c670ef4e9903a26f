"""Shards visible in Prefect: nested under the task of their stage, though DVC and a new process lie between.

The flow hands its context to the stage in the environment; `tasks.shards` finds the runner there by name. Stages
themselves know nothing of Prefect, and whatever goes wrong here, the shards run in a plain loop instead.
"""

import base64
import contextlib
import os
from collections.abc import Callable
from typing import Any

CONTEXT = "INFLUENCE_PREFECT_CONTEXT"
RUNNER = "INFLUENCE_SHARD_RUNNER"
LONGEST = 100_000  # bytes; Linux takes 128 KiB in one variable
MOST_TASKS = 50  # a stage; Prefect's SQLite server records some 30 task runs a second

Compute = Callable[[str], None]


def context_for_stages() -> dict[str, str]:
    """Environment that shows a stage's shards under the Prefect task that calls this.

    Empty without a server, and where the server is that of this run alone: it takes no logs, and nobody looks at it.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED

    if not PREFECT_API_URL.value() or not PREFECT_LOGGING_TO_API_ENABLED.value():
        return {}
    try:
        import cloudpickle
        from prefect.context import serialize_context

        packed = base64.b64encode(cloudpickle.dumps(serialize_context())).decode()
    except Exception as error:  # not a documented interface of Prefect's: it may change
        print(f"shards will not show in Prefect: {error}", flush=True)
        return {}
    return {CONTEXT: packed, RUNNER: "flows.bridge:run_shards"} if len(packed) <= LONGEST else {}


def run_shards(stage: str, shards: list[str], compute: Compute) -> None:
    """Call `compute(shard)` for each shard, in order, in this process, as Prefect tasks nested under the stage's.

    Errors of `compute` are raised as they are. If Prefect fails, the shards left are computed without it.
    """
    progress = _Progress(compute)
    if shards:
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(_context())
                task = _shard_task(stage)
                for group in _groups(shards):
                    task(group, progress)
        except Exception as error:
            if progress.failed is not None:
                raise progress.failed from None
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"{stage}: shards do not show in Prefect ({reason})", flush=True)
    for shard in shards:
        progress(shard)


class _Progress:
    """Computes each shard once, and keeps the error of one that failed apart from those of Prefect."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._done: set[str] = set()
        self.failed: BaseException | None = None

    def __call__(self, shard: str) -> None:
        if shard in self._done:
            return
        try:
            self._compute(shard)
        except BaseException as error:
            self.failed = error
            raise
        self._done.add(shard)


def _context() -> contextlib.AbstractContextManager[Any]:
    import cloudpickle
    from prefect.context import hydrated_context

    return hydrated_context(cloudpickle.loads(base64.b64decode(os.environ[CONTEXT])))


def _shard_task(stage: str) -> Callable[[list[str], Compute], None]:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    def name() -> str:
        from prefect.runtime import task_run

        shards = task_run.parameters["shards"]
        return f"{stage} {shards[0]}" + (f" to {shards[-1]}" if len(shards) > 1 else "")

    @task(name=f"{stage} shard", task_run_name=name, cache_policy=NO_CACHE, persist_result=False)
    def compute_shards(shards: list[str], compute: Compute) -> None:
        for shard in shards:
            compute(shard)

    return compute_shards


def _groups(shards: list[str]) -> list[list[str]]:
    """At most MOST_TASKS runs of neighbours."""
    size = -(-len(shards) // MOST_TASKS)
    return [shards[start : start + size] for start in range(0, len(shards), size)]
