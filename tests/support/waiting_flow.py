"""A flow under Prefect that never ends, to be killed: run as a script."""

from __future__ import annotations

import time

from prompt_processing.flows.flow import flow
from prompt_processing.flows.in_prefect import run_in_prefect
from prompt_processing.flows.run import FlowRun
from prompt_processing.flows.settings import FlowSettings

NAME = "wait-for-ever"


@flow
def wait_for_ever(run: FlowRun) -> None:
    """Wait.

    Parameters
    ----------
    run
        The run.
    """
    while True:
        time.sleep(60)


if __name__ == "__main__":
    run_in_prefect(wait_for_ever, {}, FlowSettings.load())
