"""A second deployment among the services of the demo, to which its night is replayed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic

from prompt_processing.demo.embedded import USERS_BUCKET
from prompt_processing.demo.processes import Processes
from prompt_processing.demo.surroundings import Folders, RepositoryPlace
from prompt_processing.demo.workers import start_workers, write_fan_out_settings
from prompt_processing.demo.world import make_repository
from prompt_processing.flows.daily.demo_night import find_demo_night, in_environment
from prompt_processing.nights.projector import project_folder
from prompt_processing.nights.reading import Nights
from prompt_processing.simulation.night import Night

__all__ = ["SecondDeployment", "VisitDetector", "outcomes_of", "second_deployment", "sources_in"]

ANNOUNCEMENTS, NOTICES, ALERTS = "visits-again", "arrivals-again", "alerts-again"
LONGEST_S = 400.0

VisitDetector = tuple[int | None, int]


@dataclass(frozen=True)
class SecondDeployment:
    """Fan-out, worker, central repository and APDB of their own, with the demo's broker and buckets.

    Attributes
    ----------
    night
        Night of the demo, YYYY-MM-DD.
    environment
        Variables of the demo's processes.
    folders
        Where its outputs go.
    n_images
        Visit-detectors of the night.
    """

    night: str
    environment: Mapping[str, str]
    folders: Folders
    n_images: int

    @property
    def apdb(self) -> Path:
        """SQLite file of its APDB."""
        return self.folders.work / "apdb.db"

    def replay(self, speed: float) -> str:
        """Record the night from the demo's topics, send it here, and return what the command said."""
        recording = str(self.folders.output / "night.jsonl")
        self._prompt("replay", self.night, "--write", recording)
        sent = ("--speed", str(speed), "--to", ANNOUNCEMENTS, "--notices-to", NOTICES)
        return self._prompt("replay", self.night, "--recording", recording, *sent)

    def await_outcomes(self) -> None:
        """Wait until each visit-detector has an outcome of a worker, and fill the database of nights."""
        deadline = time.monotonic() + LONGEST_S
        while len(self._ended()) < self.n_images:
            assert time.monotonic() < deadline, sorted(self._ended())
            time.sleep(0.5)
        project_folder(self.folders.outcomes, self.folders.night_database)

    def _ended(self) -> set[tuple[str, int]]:
        """Return the visit-detectors whose last outcome is final."""
        texts = [path.read_text() for path in self.folders.outcomes.rglob("*.jsonl")]
        rows = [json.loads(line) for text in texts for line in text.splitlines()]
        return {
            (row["group"], detector)
            for row in rows
            if row["event"] == "ended" and row["status"] != "retriable"
            for detector in row["detectors"]
        }

    def _prompt(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prompt_processing", *words],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def second_deployment(demo: Path, folder: Path) -> Iterator[SecondDeployment]:
    """Start a deployment beside that of ``prompt demo --keep``, whose services run.

    Parameters
    ----------
    demo
        Output folder of the demo.
    folder
        New folder.
    """
    first = find_demo_night(demo)
    simulated = Night.load(demo / "work" / "night")
    folders = Folders(folder, demo / "work" / "night")
    folders.work.mkdir(parents=True)
    detectors = sorted({one for group in simulated.groups for one in group["detectors"]})
    own = {
        "NEXT_VISIT_TOPIC": ANNOUNCEMENTS,
        "BUCKET_TOPIC": NOTICES,
        "AP_KAFKA_TOPIC": ALERTS,
        "CONFIG_APDB": str(folders.work / "apdb.yaml"),
    }
    root = folders.work / "central_repo"
    place = RepositoryPlace(
        str(root), f"sqlite:///{root / 'gen3.sqlite3'}", f"s3://{USERS_BUCKET}/second_central_repo/"
    )
    with in_environment(first.environment()):
        environment = dict(os.environ)
        _create_topics(environment["KAFKA_CLUSTER"])
        with in_environment(own), Processes(folders.logs, {}) as processes:
            database = f"sqlite:///{folders.work / 'apdb.db'}?timeout=60"
            create = ["prompt", "apdb", "create", "--development", database, own["CONFIG_APDB"]]
            apdb = processes.start("apdb", create)
            own |= make_repository(simulated, environment["S3_ENDPOINT_URL"], place)
            os.environ.update(own)
            assert apdb.wait(120) == 0, apdb.log_tail()
            initializer = processes.start("initializer", ["prompt", "initializer"])
            assert initializer.wait(120) == 0, initializer.log_tail()
            workers = start_workers(processes, folders, "knative", first.instrument, len(detectors), {})
            workers.await_ready(120)
            settings = write_fan_out_settings(
                folders, "knative", first.instrument, detectors, workers.destination
            )
            processes.start("fan-out", ["prompt", "fanout"], settings)
            yield SecondDeployment(first.reported, environment, folders, first.n_visits * len(detectors))


def outcomes_of(database: Path) -> dict[VisitDetector, dict[str, Any]]:
    """Return what became of each visit-detector of a database of nights, without its times."""
    with Nights(database) as nights:
        (night,) = nights.nights().rows
        rows = [row for visit in nights.visits(night.night).rows for row in nights.detectors(visit.group)]
    return {
        (row.visit, row.detector): {
            "group": row.group,
            "state": row.state,
            "reason": row.reason,
            "alerts": row.n_alerts,
            "sources": row.n_sources,
        }
        for row in rows
    }


def sources_in(apdb: Path) -> dict[VisitDetector, list[tuple[float, float]]]:
    """Return the positions of the DiaSources of each visit-detector in an APDB, in their order."""
    found: dict[VisitDetector, list[tuple[float, float]]] = {}
    query = 'SELECT visit, detector, ra, "dec" FROM "DiaSource" ORDER BY visit, detector, "diaSourceId"'
    with sqlite3.connect(apdb) as database:
        for visit, detector, ra, dec in database.execute(query):
            found.setdefault((visit, detector), []).append((ra, dec))
    return found


def _create_topics(broker: str) -> None:
    topics = [NewTopic(name, 1, 1) for name in (ANNOUNCEMENTS, NOTICES, ALERTS)]
    # Its futures end with the client.
    client = AdminClient({"bootstrap.servers": broker})
    for future in client.create_topics(topics).values():
        future.result(30)
