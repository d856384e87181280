"""How soon a worker is ready, and the memory that it uses while it waits for its first visit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import requests

from prompt_processing.demo.processes import Process, Processes
from prompt_processing.services.service import free_port

from .content import INSTRUMENT
from .figures import Figure, Measured, Ratio, wait_for
from .world import World

_READY_S = 5.0
_IDLE_MIB = 400.0
_PIPELINES = Path(__file__).parents[2] / "pipelines" / INSTRUMENT


def measure_start(world: World, measured: Measured, processes: Processes, repeats: int) -> None:
    """Measure workers with the survey's own pipelines, whose tasks are all imported before they are ready.

    Ready is the first 200 of ``/health``: the central repository open, the
    local one made, pipelines and settings read. What the processes take up
    is their proportional set size (memory that several share counts in
    parts), gunicorn's master and the process that answers ``/metrics``
    included.
    """
    pipelines = {
        stem: str(_PIPELINES / f"{stem}.yaml") for stem in ("Preprocessing", "ApPipe", "SingleFrame", "Isr")
    }
    main = ", ".join(pipelines[stem] for stem in ("ApPipe", "SingleFrame", "Isr"))
    settings = {
        **world.worker_environment(),
        "PREPROCESSING_PIPELINES_CONFIG": f"- pipelines: [{pipelines['Preprocessing']}]",
        "MAIN_PIPELINES_CONFIG": f"- pipelines: [{main}]",
    }
    for name, command in (
        ("prompt-activator", ["prompt-activator"]),
        ("prompt-stream-worker", ["prompt-stream-worker"]),
    ):
        seconds, cpu, idle = _start_often(processes, name, command, settings, repeats)
        measured.figures += [
            Figure(f"{name}: start to ready", seconds, "s", _READY_S),
            Figure(f"{name}: CPU until ready", cpu, "s"),
            Figure(f"{name}: idle, all its processes", idle, "MiB", _IDLE_MIB),
        ]
        if name == "prompt-activator":
            two = _start_often(processes, f"{name}-of-two", command, {**settings, "WEB_CONCURRENCY": "2"}, 1)
            measured.ratios.append(
                Ratio(
                    "memory a worker, two of one gunicorn",
                    two[2] / 2,
                    "a gunicorn each",
                    idle,
                    "MiB",
                )
            )


def _start_often(
    processes: Processes, name: str, command: Sequence[str], settings: dict[str, str], repeats: int
) -> tuple[float, float, float]:
    """Return the medians of seconds, CPU seconds and MiB."""
    found = [_start_once(processes, f"{name}-{number}", command, settings) for number in range(repeats)]
    medians = [statistics.median(values) for values in zip(*found, strict=True)]
    return medians[0], medians[1], medians[2]


def _start_once(
    processes: Processes, name: str, command: Sequence[str], settings: dict[str, str]
) -> tuple[float, float, float]:
    port, side = free_port(), free_port()
    environment = {**settings, "PORT": str(port), "METRICS_PORT": str(side)}
    begin = time.monotonic()
    worker = processes.start(name, command, environment)
    if "stream" in name:
        wait_for(lambda: _is_listening(worker), "the worker is ready", 120, 0.05)
    else:
        wait_for(lambda: _is_healthy(worker, port), "the worker is ready", 120, 0.05)
    seconds = time.monotonic() - begin
    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    cpu = sum(one.cpu_times().user + one.cpu_times().system for one in family)
    # What is allocated for the start alone is given back in the first moments.
    time.sleep(1.0)
    pss = sum(one.memory_full_info().pss for one in family)
    worker.terminate()
    worker.wait(60)
    return seconds, cpu, pss / 2**20


def _is_healthy(worker: Process, port: int) -> bool:
    worker.check()
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _is_listening(worker: Process) -> bool:
    worker.check()
    return "Ready for visits" in worker.log.read_text()
