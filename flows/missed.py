"""Scheduled runs whose time has passed: one of them stands for all.

A server or a worker that was down for several intervals finds as many runs waiting, and would start each. The first
that starts brings everything up to date, so it cancels the others. The same keeps a schedule that is shorter than a run
from piling up a queue.
"""

from collections.abc import Callable
from datetime import UTC, datetime

MISSED = "Missed"  # the name of the state


def cancel_missed(say: Callable[[str], None]) -> int:
    """Cancel the scheduled runs of this run's deployment that should have started before now.

    To be called inside a flow. Runs that a person asked for stay, and so do those of the future.

    Returns:
        how many were cancelled.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.context import FlowRunContext
    from prefect.states import Cancelled

    context = FlowRunContext.get()
    own = context.flow_run if context else None
    if own is None or own.deployment_id is None:
        return 0
    overdue = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": [own.deployment_id]},
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"before_": datetime.now(UTC)},
        }
    )
    with get_client(sync_client=True) as client:
        missed = [run for run in client.read_flow_runs(flow_run_filter=overdue) if run.auto_scheduled]
        for run in missed:
            client.set_flow_run_state(run.id, Cancelled(name=MISSED, message=f"the run {own.name} stands for it"))
    if missed:
        say(f"{len(missed)} missed runs are made up for by this one")
    return len(missed)
