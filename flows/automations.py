"""What the Prefect server does by itself: mark runs whose process died, run them again, and tell people.

Automations live in the server's database. They are known by their names, so that setting them up again changes them and
adds none, and they look at the flows of this project alone.
"""

import os
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from prefect.automations import (
    Automation,
    CallWebhook,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
)
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from flows.alerts import DRIFT, TRUST_FELL
from flows.explain_new import explain_new
from flows.pipeline import SKIPPED, pipeline
from tasks.errors import UserError

WEBHOOK = "INFLUENCE_WEBHOOK"  # environment variable: the address that is told, itself often a secret
BLOCK = "influence-webhook"  # where Prefect keeps it, encrypted
CRASHED_AFTER = timedelta(minutes=5)  # without a sign of life: ten heartbeats of 30 s, more than a restart of a server
RUN_AGAIN_WITHIN = timedelta(days=1)  # a run that crashes twice in this time stays Crashed

HEARTBEAT = "prefect.flow-run.heartbeat"
ENDED = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed", SKIPPED)}
FAILED = {f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut")}
Labels = dict[str, str | list[str]]
RUNS: Labels = {"prefect.resource.id": "prefect.flow-run.*"}
OURS: Labels = {"prefect.resource.role": "flow", "prefect.resource.name": [pipeline.name, explain_new.name]}

# Jinja, filled by the server. `text` is what chat services show.
OF_RUN = "{{ flow.name ~ ' ' ~ flow_run.name ~ ': ' ~ flow_run.state.name ~ ': ' ~ (flow_run.state.message or '') }}"
OF_EVENT = "{{ event.resource.name ~ ': ' ~ event.payload.message }}"


def set_up(crashed_after: timedelta = CRASHED_AFTER, run_again_within: timedelta = RUN_AGAIN_WITHIN) -> list[str]:
    """Create the automations on the server of PREFECT_API_URL, or bring them up to date.

    Those that tell people are for the address in INFLUENCE_WEBHOOK; without it they are left as they are.

    Args:
        crashed_after: how long a run may give no sign of life; well over the heartbeat's 30 s.
        run_again_within: the time in which a run is run again once.

    Returns:
        what the server now does, a line each.

    Raises:
        UserError: PREFECT_API_URL is not set, or its server does not answer; or INFLUENCE_WEBHOOK is no address.
    """
    if not PREFECT_API_URL.value():
        raise UserError("set PREFECT_API_URL to the address of a Prefect server first: automations live in it")
    automations = [_mark_dead_runs(crashed_after), _run_crashed_again(run_again_within)]
    try:
        if url := os.environ.get(WEBHOOK):
            automations += _notifications(url)
        with get_client(sync_client=True) as client:
            known = {automation.name: automation.id for automation in client.read_automations()}
        for automation in automations:
            automation.id = known.get(automation.name)
            automation.update() if automation.id else automation.create()
    except (httpx.HTTPError, RuntimeError) as error:
        raise UserError(f"the Prefect server at {PREFECT_API_URL.value()} does not answer: {error}") from None
    return [f"{automation.name}: {automation.description}" for automation in automations]


def _mark_dead_runs(after: timedelta) -> Automation:
    """Nobody is left to report a run whose process was killed together with its worker, or whose machine is gone."""
    return Automation(
        name="influence: mark dead runs",
        description=f"a run that gives no sign of life for {after.total_seconds():g} s is marked Crashed",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDED},
            match=RUNS,
            match_related=OURS,
            for_each={"prefect.resource.id"},
            threshold=1,
            within=after,
        ),
        actions=[_change(StateType.CRASHED, "Crashed", "no heartbeat: its process is gone")],
    )


def _run_crashed_again(within: timedelta) -> Automation:
    """The flow's own retries do not: they end with its process. Once only: what kills a run may do so each time."""
    return Automation(
        name="influence: run again",
        description=f"a deployment's run that crashed is run again, once in {within}",
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={"prefect.flow-run.Crashed"},
            match=RUNS,
            match_related=[OURS, {"prefect.resource.role": "deployment"}],
            for_each={"prefect.resource.id"},
            threshold=1,
            within=within,
        ),
        actions=[_change(StateType.SCHEDULED, "AwaitingRetry", "run again")],
    )


def _change(state: StateType, name: str, message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=state, name=name, message=message, force=False)


def _notifications(url: str) -> list[Automation]:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UserError(f"{WEBHOOK} must be an address that begins with https:// or http://")
    block = Webhook(url=SecretStr(url)).save(BLOCK, overwrite=True)
    return [
        _tell("a failed run", FAILED, OF_RUN, block, match=RUNS, match_related=OURS),
        _tell("drift", {DRIFT}, OF_EVENT, block),
        _tell("a fall of trust", {TRUST_FELL}, OF_EVENT, block),
    ]


def _tell(what: str, events: set[str], text: str, block: Any, **matching: Any) -> Automation:
    expression = text.removeprefix("{{ ").removesuffix(" }}")
    payload = f'{{"text": {{{{ ({expression}) | tojson }}}}, "event": {{{{ event.event | tojson }}}}}}'
    return Automation(
        name=f"influence: tell of {what}",
        description=f"{what} is told to the webhook",
        trigger=EventTrigger(posture=Posture.Reactive, expect=events, threshold=1, **matching),
        actions=[CallWebhook(block_document_id=block, payload=payload)],
    )
