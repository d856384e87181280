"""The smallest flow, to copy, and a check of the place where flows work.

python flows/dask_flow_test.py

WM_DASK_SCHEDULER names a Dask scheduler; otherwise WM_LOCAL=true starts processes of this machine, and
without either the work is done in this process. No Prefect server is needed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from prompt_processing.flows.engine import execute
from prompt_processing.flows.flow import flow
from prompt_processing.flows.place import process_of
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
    # What works on the items is a function of a package that the workers have.
    found = dict(run.map(abs, numbers, "numbers"))
    processes = {process for _, process in run.map(process_of, numbers, "processes")}
    run.table("Values", [{"number": one, "absolute value": found[one]} for one in numbers])
    run.table("Processes", [{"processes": len(processes), "this one": process_of(0) in processes}])


if __name__ == "__main__":
    place = FlowSettings.load().place
    with tempfile.TemporaryDirectory() as work:
        values, where = execute(dask_flow_test, {}, work=Path(work), place=place, reporter=Silent())
    click.echo(f"Done {place}: {[row['absolute value'] for row in values.rows]}, {where.rows[0]}")
