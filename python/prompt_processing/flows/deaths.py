"""Let a Prefect server notice that the process of a run has died."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

__all__ = ["HEARTBEAT_FREQUENCY", "HEARTBEAT_S", "TAG", "ensure_watch", "watched"]

HEARTBEAT_FREQUENCY = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
"""Environment variable of the seconds between two heartbeats of a run."""

HEARTBEAT_S = 30
"""The shortest that Prefect takes."""

_SILENCE_S = 90
_WATCH = "Runs that died are crashed"


TAG = "prompt-processing"
"""Tag of our runs: those of others on the same server may send heartbeats less often."""


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Let the server notice the death of runs that begin in this process."""
    from prefect import tags
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT_S}), tags(TAG):
        yield


def ensure_watch() -> None:
    """Let the server end our runs whose heartbeats cease: no dead run may count as running for long."""
    from prefect.automations import Automation
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events import EventTrigger, Posture
    from prefect.events.actions import ChangeFlowRunState

    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(_WATCH):
            return
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"},
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *ends},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=_SILENCE_S),
    )
    message = f"No sign of its process for {_SILENCE_S} s. Run it again: it does only the rest."
    action = ChangeFlowRunState(state=StateType.CRASHED, message=message)
    Automation(name=_WATCH, trigger=trigger, actions=[action]).create()
