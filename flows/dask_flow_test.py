"""Check that a flow runs here: a few sums, on the cluster that the environment names.

python flows/dask_flow_test.py

WM_DASK_SCHEDULER names a Dask scheduler; otherwise WM_LOCAL=true starts processes of this machine, and
without either the work is done in this process. No Prefect server is needed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from prompt_processing.flows.engine import execute
from prompt_processing.flows.flow import flow
from prompt_processing.flows.run import FlowRun, Silent
from prompt_processing.flows.settings import FlowSettings


@flow
def dask_flow_test(run: FlowRun, *, numbers: tuple[int, ...] = (-2, -1, 0, 1)) -> None:
    """Take absolute values.

    Parameters
    ----------
    run
        The run of the flow.
    numbers
        The numbers.
    """
    found = dict(run.map(abs, numbers, "numbers"))
    processes = {process for _, process in run.map(process_of, numbers, "processes")}
    run.table("Values", [{"number": one, "absolute value": found[one]} for one in numbers])
    run.table("Processes", [{"processes": len(processes), "this one": os.getpid() in processes}])


def process_of(_: int) -> int:
    """Return the id of the process that works on an item."""
    return os.getpid()


if __name__ == "__main__":
    # The workers import it by its name.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    from dask_flow_test import dask_flow_test as imported

    place = FlowSettings.load().place
    with tempfile.TemporaryDirectory() as work:
        values, where = execute(imported, {}, work=Path(work), place=place, reporter=Silent())
    click.echo(f"Done {place}: {[row['absolute value'] for row in values.rows]}, {where.rows[0]}")
