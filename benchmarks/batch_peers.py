"""Execute the same graph with `prompt run`, `pipetask run` and `bps submit`, and print seconds and ratios.

python -m venv peers && peers/bin/pip install lsst-ctrl-mpexec lsst-ctrl-bps lsst-ctrl-bps-parsl
python benchmarks/batch_peers.py --peers peers              graphs of 10 and 200 quanta of 0.2 s
python benchmarks/batch_peers.py --peers peers --quanta 10 --without bps

Each engine has two processes and a repository of its own, and runs as its users start it: the times are those
of the whole command, with the imports, the graph and the entry of the outputs in the repository. The cluster
of `prompt run --dask` runs before, as a site's does, and its processor time during the command counts. The
tasks do nothing but sleep.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from batch import request
from lsst.daf.butler import Butler

from prompt_processing.batch.request import RunRequest

PROCESSES = 2
PR_SET_CHILD_SUBREAPER = 36
OUTPUT = "doubled"
DASK = "prompt run --dask"


@dataclass(frozen=True)
class Cost:
    """Seconds of a command and of all processes that it started."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Graph:
    """A repository, and the request that is executed in it.

    Attributes
    ----------
    folder
        Parent of the repository, for files of the engine.
    request
        What is executed.
    environment
        Variables of the commands.
    peers
        Folder of the programs of the peers' environment.
    """

    folder: Path
    request: RunRequest
    environment: Mapping[str, str]
    peers: Path

    def options(self) -> list[str]:
        """Return the options that `prompt run` and `pipetask run` share."""
        asked = self.request
        return [
            *("-b", asked.repo, "-p", asked.pipeline, "-i", ",".join(asked.inputs), "-o", asked.output),
            *(word for override in asked.config for word in ("-c", override)),
        ]

    def execute(self, command: Sequence[str]) -> Cost:
        """Execute a command; its children count, also those that outlive it for a moment."""
        known = {child.pid for child in psutil.Process().children()}
        used, began = _processor_of_the_dead(), time.monotonic()
        with (self.folder / "command.log").open("wb") as log:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, check=False
            )
        wall = time.monotonic() - began
        _wait_for_orphans(known)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{(self.folder / 'command.log').read_text()[-3000:]}")
        return Cost(wall, _processor_of_the_dead() - used)


def prompt_run(graph: Graph) -> Cost:
    """Execute it on processes of this machine."""
    return graph.execute([*_prompt(graph), "-j", str(PROCESSES)])


def prompt_run_dask(graph: Graph) -> Cost:
    """Execute it on a Dask cluster of separate processes, which runs already."""
    with _dask_cluster(graph) as (address, processes):
        before = _processor_of(processes)
        cost = graph.execute([*_prompt(graph), "--dask", address])
        return Cost(cost.wall, cost.processor + _processor_of(processes) - before)


def pipetask_run(graph: Graph) -> Cost:
    """Execute it with the field's engine for one machine."""
    program = str(graph.peers / "pipetask")
    return graph.execute([program, "run", *graph.options(), "-j", str(PROCESSES), "--register-dataset-types"])


def bps_submit(graph: Graph) -> Cost:
    """Execute it with the field's engine for clusters, on Parsl's processes of this machine."""
    asked = graph.request
    configuration = {
        "wmsServiceClass": "lsst.ctrl.bps.parsl.ParslService",
        "computeSite": "local",
        "site": {"local": {"class": "lsst.ctrl.bps.parsl.sites.Local", "cores": PROCESSES}},
        "project": "benchmark",
        "campaign": "benchmark",
        "operator": "benchmark",
        "pipelineYaml": asked.pipeline,
        "submitPath": str(graph.folder / "submit"),
        "extraQgraphOptions": " ".join(f"-c {override}" for override in asked.config),
        "payload": {
            "payloadName": "benchmark",
            "butlerConfig": asked.repo,
            "inCollection": ",".join(asked.inputs),
            "output": asked.output,
            "outputRun": f"{asked.output}/run",
            "dataQuery": "instrument = 'Cam'",
        },
    }
    path = graph.folder / "bps.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return graph.execute([str(graph.peers / "bps"), "submit", str(path)])


ENGINES: dict[str, Callable[[Graph], Cost]] = {
    DASK: prompt_run_dask,
    "prompt run -j 2": prompt_run,
    "pipetask run -j 2": pipetask_run,
    "bps submit": bps_submit,
}


def measure(engine: Callable[[Graph], Cost], quanta: int, seconds: float, peers: Path) -> Cost:
    """Execute a graph in a repository of its own, and check that all of it was executed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        asked = request(folder, quanta, seconds)
        environment = {
            **os.environ,
            "PATH": f"{peers}{os.pathsep}{os.environ['PATH']}",
            # BPS starts the programs of this folder's bin.
            "CTRL_MPEXEC_DIR": str(peers.parent),
        }
        cost = engine(Graph(folder, asked, environment, peers))
        with Butler.from_config(asked.repo) as butler:
            there = len(butler.query_datasets(OUTPUT, asked.output, limit=None))
        if there != quanta:
            raise RuntimeError(f"{there} of {quanta} outputs are in the repository")
        return cost


def _prompt(graph: Graph) -> list[str]:
    work = str(graph.folder / "work")
    return [sys.executable, "-m", "prompt_processing", "run", *graph.options(), "--work", work]


@contextmanager
def _dask_cluster(graph: Graph) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Start a scheduler and workers with one thread each, and yield its address and the processes."""
    file = graph.folder / "scheduler.json"
    python = [sys.executable, "-m"]
    with ExitStack() as stack:

        def start(*words: str) -> psutil.Process:
            process = subprocess.Popen(
                [*python, *words],
                cwd=graph.folder,
                env=graph.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGTERM)
            return psutil.Process(process.pid)

        scheduler = ("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard")
        processes = [start(*scheduler, "--scheduler-file", str(file))]
        _await(lambda: file.exists() and bool(file.read_text().strip()))
        address = str(json.loads(file.read_text())["address"])
        worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny")
        processes += [start(*worker) for _ in range(PROCESSES)]
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(PROCESSES, timeout=120)
        yield address, processes


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the Dask scheduler does not start")
        time.sleep(0.1)


def _processor_of(processes: Sequence[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def _processor_of_the_dead() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _wait_for_orphans(known: set[int]) -> None:
    """Wait for processes that outlived the command; as a subreaper, this process is their parent now."""
    while left := [child for child in psutil.Process().children() if child.pid not in known]:
        for child in left:
            child.wait(60)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="environment with pipetask and bps")
    parser.add_argument("--quanta", type=int, nargs="+", default=[10, 200])
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--without", nargs="*", default=[], metavar="WORD", help="leave out engines")
    options = parser.parse_args()
    # Processes whose parent has ended become children of this one, which counts them.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    peers = options.peers.absolute() / "bin"
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for quanta in options.quanta:
        print(f"{quanta} quanta of {options.seconds} s on {PROCESSES} processes")
        reference: Cost | None = None
        for name, engine in ENGINES.items():
            if any(word in name for word in options.without):
                continue
            cost = measure(engine, quanta, options.seconds, peers)
            reference = reference or cost
            print(
                f"  {name:20s} {cost.wall:7.1f} s wall  {cost.processor:7.1f} s processor   ratios "
                f"{cost.wall / reference.wall:.2f} and {cost.processor / reference.processor:.2f}; "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
