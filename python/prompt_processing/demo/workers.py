"""The workers of the demo, fed over HTTP or from a Redis stream, and the fan-out's settings."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import requests
import yaml

from prompt_processing.services.service import free_port

from .outcomes import LogFollower, VisitOutcome
from .processes import Process, Processes, ProcessFailedError
from .surroundings import Folders

__all__ = ["MESSAGE_EXPIRATION_S", "Platform", "Workers", "start_workers", "write_fan_out_settings"]

Platform = Literal["knative", "keda"]

MESSAGE_EXPIRATION_S = "150"
"""Seconds after which a visit is not retried: a demo should not take longer."""
_READY = '"Ready for visits of '


@dataclass(slots=True)
class Workers:
    """Worker processes and their logs; each worker processes one visit at a time.

    Attributes
    ----------
    processes : sequence of `~prompt_processing.demo.processes.Process`
        One server with several workers, or several workers.
    destination : mapping
        Their addresses in the fan-out's configuration.
    n_workers : `int`
        Number of visits that can be processed at once.
    metrics_port : `str`
        Port on which the server reports how many workers are ready; empty for stream workers.
    """

    processes: Sequence[Process]
    destination: Mapping[str, Mapping[str, str]]
    n_workers: int
    metrics_port: str
    _followers: list[LogFollower] = field(default_factory=list)

    def follow(self, milestone: str) -> None:
        """Begin to read the logs; ``milestone`` is the label of the task whose end is recorded."""
        self._followers = [LogFollower(process.log, milestone) for process in self.processes]

    def read_outcomes(self) -> list[VisitOutcome]:
        """Return new outcomes since the last call, in order of time."""
        found = [outcome for follower in self._followers for outcome in follower.read()]
        return sorted(found, key=lambda outcome: outcome.ended)

    @property
    def past_milestone(self) -> set[tuple[str, int]]:
        """Groups and detectors whose visits have run the task, or have ended."""
        return {visit for follower in self._followers for visit in follower.past_milestone}

    def check(self) -> None:
        """Check that all of them still run.

        Raises
        ------
        ProcessFailedError
            One has ended.
        """
        for process in self.processes:
            process.check()

    def await_ready(self, timeout_s: float) -> None:
        """Wait until all of them are ready for a visit.

        Raises
        ------
        ProcessFailedError
            One ends early, or they are not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._ready():
            self.check()
            if time.monotonic() > deadline:
                logs = ", ".join(str(process.log) for process in self.processes)
                raise ProcessFailedError(f"The workers are not ready after {timeout_s:.0f} s; see {logs}")
            time.sleep(0.2)

    def _ready(self) -> bool:
        if not self.metrics_port:
            return all(_READY in process.log.read_text(errors="replace") for process in self.processes)
        try:
            answer = requests.get(f"http://127.0.0.1:{self.metrics_port}/health", timeout=2)
            return answer.status_code == 200 and int(answer.json()["workers"]) >= self.n_workers
        except requests.RequestException:
            # Not listening yet.
            return False


def start_workers(
    processes: Processes,
    folders: Folders,
    platform: Platform,
    instrument: str,
    n_workers: int,
    settings: Mapping[str, str],
) -> Workers:
    """Start workers.

    Parameters
    ----------
    processes : `~prompt_processing.demo.processes.Processes`
        Where they are started.
    folders : `Folders`
        Folders of their local repositories.
    platform : `str`
        ``knative``: one server that visits are posted to; ``keda``: workers that take them from a stream.
    instrument : `str`
        Camera.
    n_workers : `int`
        Number of visits to process at once.
    settings : mapping
        Settings in addition to the world's environment.
    """
    local = folders.work / "local_repos"
    local.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // n_workers)
    common = {
        "LOCAL_REPOS": str(local),
        "OUTCOME_DIR": str(folders.outcomes),
        "WORKER_TIMEOUT": "300",
        "MESSAGE_EXPIRATION": MESSAGE_EXPIRATION_S,
        "IMAGE_TIMEOUT": "20",
        "NUMBA_NUM_THREADS": str(threads),
        # As on a real worker, where all cores are busy with other detectors.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **settings,
    }
    if platform == "keda":
        # No worker of the demo ends because visits are rare.
        common |= {"METRICS_PORT": "0", "FANNED_OUT_MSG_LISTEN_TIMEOUT": "3600"}
        workers = [
            processes.start(f"worker-{number}", ["prompt", "worker", "stream"], common)
            for number in range(1, n_workers + 1)
        ]
        stream = f"instrument:{instrument.lower()}"
        return Workers(workers, {"redis-streams": {instrument: stream}}, n_workers, "")
    port, metrics_port = str(free_port()), str(free_port())
    common |= {"PORT": port, "METRICS_PORT": metrics_port, "WEB_CONCURRENCY": str(n_workers)}
    activator = processes.start("activator", ["prompt", "worker", "http"], common)
    url = f"http://127.0.0.1:{port}/next-visit"
    return Workers([activator], {"knative-urls": {instrument: url}}, n_workers, metrics_port)


def write_fan_out_settings(
    folders: Folders,
    platform: Platform,
    instrument: str,
    detectors: Sequence[int],
    destination: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    """Write the fan-out's configuration file and return its settings."""
    configuration = {
        "detectors": {instrument: {int(detector): True for detector in detectors}},
        **{section: dict(addresses) for section, addresses in destination.items()},
    }
    path: Path = folders.work / "instruments.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return {
        "PLATFORM": platform,
        "SUPPORTED_INSTRUMENTS": instrument,
        "INSTRUMENT_CONFIG_FILE": str(path),
        "CONSUMER_GROUP": "next-visit-fan-out",
        "OFFSET": "earliest",
        "RETRY_KNATIVE_REQUESTS": "true",
        "MESSAGE_EXPIRATION": MESSAGE_EXPIRATION_S,
        "SHUTDOWN_GRACE_S": "3",
        "OUTCOME_DIR": str(folders.outcomes),
        "METRICS_PORT": "0",
    }
