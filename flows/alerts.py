"""Events that a run tells the Prefect server when something is worse than before; automations pass them on."""

import hashlib
from pathlib import Path

from prefect.events import emit_event

from tasks.artifacts import read_json, write_json
from tasks.validation.decline import decline
from tasks.workspace import Workspace

DRIFT = "influence.drift"
TRUST_FELL = "influence.trust-fell"


def tell(event: str, root: Path, message: str) -> None:
    """Emit an event of this workspace; `message` is one sentence for a person."""
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    resource = {"prefect.resource.id": f"influence.workspace.{name}", "prefect.resource.name": root.resolve().name}
    emit_event(event, resource=resource, payload={"message": message, "workspace": str(root.resolve())})


def tell_if_trust_fell(root: Path) -> str | None:
    """Compare the validation with that of the last run which came this far, and tell if the trust fell.

    Returns:
        what was told.
    """
    workspace = Workspace(root)
    last = workspace.work / "last_validation.json"
    if not workspace.validation_metrics.exists():
        return None
    now = read_json(workspace.validation_metrics)
    message = decline(read_json(last), now) if last.exists() else None
    if message is not None:
        tell(TRUST_FELL, root, message)
    write_json(last, now)
    return message
