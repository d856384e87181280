"""Run a flow in this process, without a Prefect server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .flow import Flow
from .memory import Memory
from .place import Place
from .run import FlowRun, Reporter, Table

__all__ = ["execute"]


def execute(
    flow: Flow,
    parameters: Mapping[str, Any],
    *,
    work: Path,
    place: Place,
    reporter: Reporter,
    dry_run: bool = False,
    tables: list[Table] | None = None,
) -> tuple[Table, ...]:
    """Run a flow, and return the tables that it made.

    Parameters
    ----------
    parameters
        By name.
    work
        Parent of the flows' folders.
    dry_run
        Whether only to list what would be done.
    tables
        Gets the tables as they are made, also those of a flow that fails.

    Raises
    ------
    FlowError
        Raised for unknown or absent parameters, or if the flow runs already with the same ones.
    """
    flow.check(parameters)
    for name in ("lsst.daf.butler._storage_class", "lsst.utils.packages"):
        # They name parts of the stack that are not needed.
        logging.getLogger(name).setLevel(logging.ERROR)
    folder = work / flow.name
    made = [] if tables is None else tables
    if dry_run:
        run = FlowRun(folder, True, place, reporter, tables=made)
        flow(run, **parameters)
        return tuple(made)
    with Memory.of(folder, parameters) as memory:
        run = FlowRun(folder, False, place, reporter, memory, made)
        with run.stack:
            flow(run, **parameters)
    return tuple(made)
