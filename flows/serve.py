"""The pipeline on a schedule."""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flows import checks
from flows.server import local_server
from tasks.errors import UserError

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment

API_URL = "PREFECT_API_URL"


def serve(
    workspace: Path,
    cron: str | None,
    interval: float | None,
    name: str,
    explain: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Run the pipeline on its schedule until interrupted. Runs never overlap, and what was missed is made up for once.

    Args:
        workspace: the folder that holds dvc.yaml.
        cron: a schedule such as `0 3 * * 1`.
        interval: seconds between two starts.
        name: of the deployment.
        explain: a cron schedule on which the queries in the inbox are explained; None: never.
        say: told what is going on, a line at a time.

    Raises:
        UserError: not exactly one schedule is given, or it is not one; or the workspace is not sound.
    """
    if (cron is None) == (interval is None):
        raise UserError('serve: give --cron, such as --cron "0 3 * * 1", or --interval SECONDS')
    if interval is not None and not interval >= 1:
        raise UserError(f"serve: --interval must be at least 1 second, not {interval:g}")
    for given in filter(None, (cron, explain)):
        _check_cron(given)
    checks.check(workspace)
    # Runs are processes of their own: packages of the workspace must not take the place of installed ones there.
    os.environ["PYTHONSAFEPATH"] = "1"
    with _server(workspace, say):
        import prefect

        from flows import automations
        from flows.explain_new import explain_new
        from flows.pipeline import pipeline

        for line in automations.set_up():
            say(line)
        every = None if interval is None else timedelta(seconds=interval)
        deployments = [_deployment(pipeline, name, workspace, cron=cron, interval=every)]
        if explain is not None:
            deployments.append(_deployment(explain_new, f"{name}-explain", workspace, cron=explain))
        # Not paused on the way out: Prefect would forget the runs that are missed until the next start.
        prefect.serve(*deployments, limit=1, pause_on_shutdown=False)


def _deployment(flow: "Flow[..., Any]", name: str, workspace: Path, **schedule: Any) -> "RunnerDeployment":
    """One that refuses a run while another is at work, which a second `influence serve` of it may have started."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    made = flow.to_deployment(
        name=name,
        parameters={"workspace": str(workspace.resolve())},
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        tags=["influence"],
        **schedule,
    )
    deployment = cast("RunnerDeployment", made)  # a coroutine only where an event loop runs
    # Not by the path of the file, which would be read with the workspace's packages before ours.
    deployment.entrypoint = f"influence_deployment.{flow.fn.__name__}"
    return deployment


@contextlib.contextmanager
def _server(workspace: Path, say: Callable[[str], None]) -> Iterator[None]:
    """The server that is configured; else one of our own, as nothing else would start runs on time."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    say("Starting a Prefect server on this machine ...")
    with local_server(Path(os.environ["PREFECT_HOME"])) as url:
        say(f"Prefect shows the runs at {url.removesuffix('/api')}")
        os.environ[API_URL] = url  # for the runs, which are processes of their own
        try:
            with temporary_settings({PREFECT_API_URL: url}):
                yield
        finally:
            del os.environ[API_URL]


def _check_cron(cron: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron)
    except ValueError:
        raise UserError(f'serve: {cron!r} is not a cron schedule: write one such as "0 3 * * 1"') from None
