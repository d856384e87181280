"""Start a Dask cluster whose workers are SLURM jobs, and keep it until Ctrl-C or SIGTERM.

pip install dask-jobqueue
python infra/dask/start_slurm.py --jobs 64 --memory 6GB --walltime 04:00:00 --partition day
python infra/dask/start_slurm.py --print-script     # the script of a job; nothing is submitted

The scheduler is this process. It prints its address for WM_DASK_SCHEDULER. Jobs get this environment.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading

import click
from dask_jobqueue import SLURMCluster

# The numerics use one thread a worker; libraries would start one a core.
PROLOGUE = ["export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1"]


def main() -> None:
    """Start the cluster, and end its jobs at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4, help="number of jobs, one worker each (4)")
    parser.add_argument("--memory", default="6GB", help="memory of a job (6GB)")
    parser.add_argument("--walltime", default="04:00:00", help="longest time of a job (04:00:00)")
    parser.add_argument("--partition", help="partition; default: the site's")
    parser.add_argument("--account", help="account; default: the user's")
    parser.add_argument("--print-script", action="store_true", help="print a job's script and end")
    options = parser.parse_args()
    # Before any job exists, so that a signal at any moment ends all of them.
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with SLURMCluster(
        cores=1,
        processes=1,
        memory=options.memory,
        walltime=options.walltime,
        queue=options.partition,
        account=options.account,
        job_name="prompt-dask",
        job_script_prologue=PROLOGUE,
        python=sys.executable,
        scheduler_options={"dashboard_address": ":0"},
        silence_logs=logging.ERROR,
    ) as cluster:
        if options.print_script:
            click.echo(cluster.job_script())
            return
        cluster.scale(jobs=options.jobs)
        click.echo(f"export WM_DASK_SCHEDULER={cluster.scheduler_address}")
        sys.stdout.flush()
        ended.wait()


if __name__ == "__main__":
    main()
