"""Check a Dask cluster: that it answers, that its workers have this client's versions, and that they work.

WM_DASK_SCHEDULER=tcp://dask:8786 python infra/dask/dask_test.py
"""

from __future__ import annotations

import sys
from collections import Counter

import click

from prompt_processing.batch.errors import BatchError
from prompt_processing.batch.execution import connect
from prompt_processing.flows.settings import FlowSettings


def main() -> int:
    """Return 0 if the cluster can be used."""
    place = FlowSettings.load().place
    if not place.scheduler:
        click.echo("WM_DASK_SCHEDULER names no cluster.", err=True)
        return 2
    try:
        with connect(place.scheduler, 1) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            total = client.submit(sum, client.map(abs, range(-500, 500), pure=False), pure=False).result(
                timeout=60
            )
    except BatchError as error:
        click.echo(error, err=True)
        return 1
    hosts = Counter(worker["host"] for worker in workers.values())
    click.echo(
        f"{place.scheduler}: {len(workers)} workers on {len(hosts)} hosts, versions as here, sum {total}."
    )
    return 0 if total == 250_000 else 1


if __name__ == "__main__":
    sys.exit(main())
