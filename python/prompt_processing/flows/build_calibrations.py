"""The flow that builds calibrations."""

from __future__ import annotations

from .flow import flow
from .run import FlowRun


@flow
def build_calibrations(
    run: FlowRun,
    *,
    repo: str,
    instrument: str,
) -> None:
    """Make bias, dark, flats, defects, gains and linearity of raw exposures, check and certify them.

    Parameters
    ----------
    run
        The run of the flow.
    repo
        Butler repository with the raws.
    instrument
        Camera.
    """
    run.say("not yet")
