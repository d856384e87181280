"""Workers of a Dask cluster are SLURM jobs, on a machine whose SLURM commands start processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prompt_processing.batch.execution import connect

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[2] / "infra" / "dask" / "start_slurm.py"

SBATCH = """\
#!/bin/sh
cp "$1" {folder}/job.sh
# The copy is run, as by SLURM: the script that was submitted is removed at once.
# A job has a session of its own, whose leader's number is the job's.
setsid sh {folder}/job.sh >{folder}/job.log 2>&1 </dev/null &
echo "Submitted batch job $!"
"""

SCANCEL = """\
#!/bin/sh
echo "$@" >>{folder}/cancelled
for job in "$@"; do kill -9 -- "-$job"; done
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text.format(folder=tmp_path))
        program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


def test_jobs_work_until_the_cluster_ends(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--jobs", "1", "--memory", "2GB", "--partition", "day"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as cluster:
        try:
            assert cluster.stdout is not None
            name, _, address = cluster.stdout.readline().strip().partition("=")
            assert name == "export WM_DASK_SCHEDULER"
            wait_for_worker(address)
            with connect(address, 1) as client:
                assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6
                # One thread, for Dask as for the numerics.
                assert set(client.nthreads().values()) == {1}
                assert set(client.run(os.getenv, "OMP_NUM_THREADS").values()) == {"1"}
        finally:
            cluster.send_signal(signal.SIGTERM)
        assert cluster.wait(timeout=120) == 0
    job = (tmp_path / "job.sh").read_text()
    for line in ("#SBATCH -J prompt-dask", "#SBATCH -p day", "#SBATCH --mem=2G", "#SBATCH -t 04:00:00"):
        assert line in job.splitlines()
    # The job was cancelled, not only its worker asked to end.
    assert len((tmp_path / "cancelled").read_text().split()) == 1


def wait_for_worker(address: str) -> None:
    from distributed import Client

    deadline = time.monotonic() + 120
    with Client(address, timeout="60s", set_as_default=False) as client:
        while not client.nthreads():
            assert time.monotonic() < deadline, "no job has started a worker"
            time.sleep(0.1)
