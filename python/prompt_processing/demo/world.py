"""The world around the service: Kafka, S3, the central repository, the APDB and their settings."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml

import prompt_processing
from prompt_processing.activator.storage.collections import Collections
from prompt_processing.domain.clock import night as night_of
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import simulated_content
from prompt_processing.simulation.night import Night
from prompt_processing.transport.s3 import make_s3_client

from .processes import Process, Processes, ProcessFailedError

__all__ = ["ALERT_TOPIC", "Folders", "World", "start_services"]

ALERT_TOPIC = "alerts-simulated"
_NEXT_VISIT_TOPIC = "next-visit-topic"
_BUCKET_TOPIC = "prompt-processing-dev"
_IMAGE_BUCKET = "rubin-pp-dev"
_USERS_BUCKET = "rubin-pp-dev-users"
_MESSAGE_EXPIRATION_S = "150"
"""What has failed for so long will not succeed before whoever watches loses patience."""
_PIPELINES = ("Preprocessing", "ApPipe", "SingleFrame", "Isr")
"""The one that runs before the image, then those that run on it, best first."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the demo writes.

    Attributes
    ----------
    output : `~pathlib.Path`
        What stays: tables, pictures, logs, alerts.
    night : `~pathlib.Path`
        The simulated night.
    """

    output: Path
    night: Path

    @property
    def logs(self) -> Path:
        """A log for each process."""
        return self.output / "logs"

    @property
    def alerts(self) -> Path:
        """A file for each alert, as read back."""
        return self.output / "alerts"

    @property
    def pictures(self) -> Path:
        """Pictures."""
        return self.output / "pictures"

    @property
    def work(self) -> Path:
        """What is needed only while the services run."""
        return self.output / "work"

    @property
    def manifest(self) -> Path:
        """What the tester uploaded, and as what."""
        return self.output / "uploaded.jsonl"


@dataclass(frozen=True, slots=True)
class World:
    """Services that run, by the environment variables that name them.

    Attributes
    ----------
    folders : `Folders`
        Where files are.
    environment : mapping
        Settings for all processes.
    """

    folders: Folders
    environment: Mapping[str, str]

    @property
    def central_repository(self) -> str:
        """Path of the central repository."""
        return self.environment["CENTRAL_REPO"]

    @property
    def alert_broker(self) -> str:
        """Bootstrap servers of the alert stream."""
        return self.environment["AP_KAFKA_SERVER"]

    def output_collection(self) -> str:
        """Return the chain of tonight's outputs."""
        return Collections(self.environment["RUBIN_INSTRUMENT"]).output_chain(night_of(time.time()))


def start_services(processes: Processes, folders: Folders) -> dict[str, str]:
    """Start Kafka and S3 with the topics and buckets that the system has, and an APDB.

    Returns
    -------
    environment : `dict` [`str`, `str`]
        Names all of them.

    Raises
    ------
    ProcessFailedError
        One of them does not start.
    """
    kafka = processes.start(
        "kafka",
        [
            "python",
            "-m",
            "prompt_processing.demo.kafka_server",
            _NEXT_VISIT_TOPIC,
            _BUCKET_TOPIC,
            ALERT_TOPIC,
        ],
        tells_ready=True,
    )
    store = processes.start("s3", ["python", "-m", "prompt_processing.demo.object_store"], tells_ready=True)
    apdb = processes.start(
        "apdb-cli",
        [
            "apdb-cli",
            "create-sql",
            # Workers wait for each other's writes (s): SQLite has one writer at a time. The command's own
            # option for it does not work with SQLite.
            f"sqlite:///{folders.work / 'apdb.db'}?timeout=60",
            str(folders.work / "apdb.yaml"),
        ],
    )
    broker, endpoint = kafka.wait_ready(30), store.wait_ready(60)
    client = make_s3_client(endpoint)
    for bucket in (_IMAGE_BUCKET, _USERS_BUCKET):
        client.create_bucket(Bucket=bucket)
    if apdb.wait(120) != 0:
        apdb.check()
    return {
        "KAFKA_CLUSTER": broker,
        "NEXT_VISIT_TOPIC": _NEXT_VISIT_TOPIC,
        "BUCKET_TOPIC": _BUCKET_TOPIC,
        "PUBLISH_BUCKET_NOTICES": "1",
        "S3_ENDPOINT_URL": endpoint,
        "IMAGE_BUCKET": _IMAGE_BUCKET,
        "USERS_BUCKET": _USERS_BUCKET,
        "CONFIG_APDB": str(folders.work / "apdb.yaml"),
        "AP_KAFKA_SERVER": broker,
        "AP_KAFKA_TOPIC": ALERT_TOPIC,
    }


def make_repository(night: Night, environment: Mapping[str, str], folders: Folders) -> dict[str, str]:
    """Make the central repository of a night, and fill the pool of raws.

    The registry is SQLite in a folder; the datasets are in the users' bucket.

    Returns
    -------
    environment : `dict` [`str`, `str`]
        Names the repository and what is in it.
    """
    instrument = night.camera.name
    pipelines = Path(prompt_processing.__path__[0]).parents[1] / "pipelines" / instrument
    root = folders.work / "central_repo"
    with ThreadPoolExecutor(1) as meanwhile:
        filled = meanwhile.submit(_fill_pool, night, environment["S3_ENDPOINT_URL"])
        make_central_repository(
            str(root),
            night.camera,
            simulated_content(night),
            pipelines=[str(pipelines / f"{name}.yaml") for name in _PIPELINES],
            database=f"sqlite:///{root / 'gen3.sqlite3'}",
            datastore=f"s3://{_USERS_BUCKET}/central_repo/",
        )
        filled.result()
    return {
        "RUBIN_INSTRUMENT": instrument,
        "SKYMAP": night.sky_map.name,
        "CENTRAL_REPO": str(root),
        "PREPROCESSING_PIPELINES_CONFIG": yaml.safe_dump(
            [{"survey": "SURVEY", "pipelines": [str(pipelines / "Preprocessing.yaml")]}]
        ),
        "MAIN_PIPELINES_CONFIG": yaml.safe_dump(
            [{"survey": "SURVEY", "pipelines": [str(pipelines / f"{name}.yaml") for name in _PIPELINES[1:]]}]
        ),
    }


def _fill_pool(night: Night, endpoint_url: str) -> None:
    client = make_s3_client(endpoint_url, read_timeout=60.0)
    for path in sorted(night.pool.rglob("*")):
        if path.is_file():
            key = f"unobserved/{path.relative_to(night.pool)}"
            client.put_object(Bucket=_USERS_BUCKET, Key=key, Body=path.read_bytes())


def activator_settings(folders: Folders, n_workers: int) -> dict[str, str]:
    """Return the settings that only the activator has."""
    local = folders.work / "local_repos"
    local.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // n_workers)
    return {
        "PORT": str(free_port()),
        "METRICS_PORT": str(free_port()),
        "WEB_CONCURRENCY": str(n_workers),
        "LOCAL_REPOS": str(local),
        "WORKER_TIMEOUT": "300",
        "MESSAGE_EXPIRATION": _MESSAGE_EXPIRATION_S,
        "IMAGE_TIMEOUT": "20",
        "NUMBA_NUM_THREADS": str(threads),
        # As on a real worker: all cores are busy with other detectors.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def fan_out_settings(
    folders: Folders, instrument: str, detectors: Sequence[int], port: str
) -> dict[str, str]:
    """Write the fan-out's configuration file and return its settings."""
    configuration = {
        "detectors": {instrument: {int(detector): True for detector in detectors}},
        "knative-urls": {instrument: f"http://127.0.0.1:{port}/next-visit"},
    }
    path = folders.work / "instruments.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return {
        "SUPPORTED_INSTRUMENTS": instrument,
        "INSTRUMENT_CONFIG_FILE": str(path),
        "CONSUMER_GROUP": "next-visit-fan-out",
        "OFFSET": "earliest",
        "RETRY_KNATIVE_REQUESTS": "true",
        "MESSAGE_EXPIRATION": _MESSAGE_EXPIRATION_S,
        "SHUTDOWN_GRACE_S": "3",
    }


def await_workers(activator: Process, metrics_port: str, n_workers: int, timeout_s: float) -> None:
    """Wait until all workers of the activator are ready for a visit.

    Raises
    ------
    ProcessFailedError
        It ends before, or does not do so in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        activator.check()
        try:
            answer = requests.get(f"http://127.0.0.1:{metrics_port}/health", timeout=2)
            if answer.status_code == 200 and answer.json()["workers"] >= n_workers:
                return
        except requests.RequestException:
            # Not listening yet.
            pass
        time.sleep(0.2)
    raise ProcessFailedError(f"{activator.name} is not ready after {timeout_s:.0f} s; see {activator.log}")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
