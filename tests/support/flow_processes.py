"""Processes in which flows run: the command, a Dask cluster, a Prefect server with a worker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

LONGEST_START_S = 300.0
"""A Prefect server takes 14 to 75 s to start on two busy cores."""


def flow_environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that runs a flow, without what this one has set for flows."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("WM_", "FLOW_", "PREFECT_"))
    }
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    own["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return own | more


def prompt(*words: str) -> list[str]:
    """Return the command line of a ``prompt`` command."""
    return [sys.executable, "-m", "prompt_processing", *words]


def run(command: list[str], environment: Mapping[str, str], folder: Path) -> str:
    """Run a command to its end, and return what it wrote; a failure shows it."""
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + LONGEST_START_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@contextmanager
def started(
    command: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process with its children in a group of its own, and end all of them."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        process.wait()


@contextmanager
def dask_cluster(folder: Path, workers: int = 1) -> Iterator[str]:
    """Start a Dask scheduler and workers as separate processes, and yield its address."""
    file = folder / "scheduler.json"
    # Nothing of this package is prepared in these processes.
    environment = {
        name: value for name, value in flow_environment().items() if name != "DAF_BUTLER_CONFIG_PATH"
    }
    scheduler = ["-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    with ExitStack() as stack:
        stack.enter_context(
            started(
                [sys.executable, *scheduler, "--scheduler-file", str(file)],
                environment,
                folder / "scheduler.log",
            )
        )
        wait_for(lambda: file.exists() and bool(file.read_text().strip()), "no scheduler")
        address = str(json.loads(file.read_text())["address"])
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
        for number in range(workers):
            command = [*worker, "--no-dashboard", "--no-nanny"]
            stack.enter_context(started(command, environment, folder / f"worker-{number}.log"))
        yield address


@contextmanager
def prefect_server(folder: Path) -> Iterator[dict[str, str]]:
    """Start a Prefect server with a database of its own, and yield the variables that name it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with started(command, flow_environment(**variables), folder / "server.log") as process:

        def answers() -> bool:
            assert process.poll() is None, (folder / "server.log").read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{variables['PREFECT_API_URL']}/health", timeout=5) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        wait_for(answers, "the Prefect server does not answer")
        yield variables
