"""The course of the demo: build the world, observe a night in it, and collect the results."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_processing.nights.projector import project_folder
from prompt_processing.simulation.night import Night, build_night

from .embedded import EmbeddedServices
from .outcomes import VisitOutcome
from .processes import Process, Processes, ProcessFailedError
from .progress import Progress
from .real_services import RealServices
from .results import NightResult, collect, start_query
from .surroundings import ALERT_TOPIC, Folders, Surroundings
from .workers import Platform, Workers, start_workers, write_fan_out_settings
from .world import World, make_repository

__all__ = ["DemoOptions", "NightFailedError", "make_surroundings", "make_world", "take_night"]

_PATIENCE_S = 360.0
"""Time without news of any visit after which the demo stops waiting; longer than a worker's timeout."""
_ALERT_READER_TIMEOUT_S = 20.0
_REVISIT_AFTER_TASK = "associateApdb"
"""The next visit of the field is announced when all detectors have run this task: the field's DiaObjects are
then known, and a worker is free when the image arrives. A telescope returns to a field after half an hour."""
_STAYS_AWAY = (
    # Set in the caller's shell, they would lead the demo's processes to other stores and brokers.
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "S3_ENDPOINT_URL",
    "KAFKA_SCHEMA_REGISTRY_URL",
    "RAW_MICROSERVICE",
    "READ_CENTRAL_REPO",
    "SASQUATCH_URL",
    "USE_KAFKA_BUTLER_WRITER",
    "MP_SKY_URL",
    "EXPORT_TYPE_REGEXP",
    "DEBUG_EXPORT_OUTPUTS",
    "PROMETHEUS_MULTIPROC_DIR",
    "SECURITY_PROTOCOL",
    "SASL_USERNAME",
    "SASL_PASSWORD",
    "AP_KAFKA_PRODUCER_USERNAME",
    "AP_KAFKA_PRODUCER_PASSWORD",
    "ALERT_KEEP_DIR",
    "ALERT_KEEP_STORE",
    "OUTCOME_TOPIC",
    "PLATFORM",
    "LOCAL_REPO_CONFIG",
    "CENTRAL_IERS_CACHE",
    "SATTLE_URI_BASE",
    "SASL_MECHANISM",
    "SSL_CA_FILE",
    "KAFKA_USERNAME",
    "KAFKA_PASSWORD",
    "KAFKA_SECURITY_PROTOCOL",
    "AP_KAFKA_SECURITY_PROTOCOL",
)


class NightFailedError(RuntimeError):
    """Some visits were not processed; the message names them and the reasons."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The demo's options.

    Attributes
    ----------
    instrument : `str`
        Camera.
    detectors : `tuple` [`int`]
        Detector ids.
    n_visits : `int`
        Number of visits, all of one field.
    seed : `int`
        Seed of the simulated sky.
    miniature : `tuple` [`int`, `int`] or `None`
        Columns and rows of each amplifier; None for the camera's own.
    slew, exposure, pause : `float`
        Seconds of the tester's schedule.
    night : `~pathlib.Path` or `None`
        Folder of a simulated night, which is simulated if missing; None uses a temporary one.
    services : `bool`
        Whether to run on real servers instead of stand-ins.
    platform : `str`
        How visits reach the workers: ``knative``, HTTP; ``keda``, a Redis stream.
    """

    instrument: str
    detectors: tuple[int, ...]
    n_visits: int
    seed: int = 1
    miniature: tuple[int, int] | None = None
    slew: float = 2.0
    exposure: float = 18.0
    pause: float = 0.0
    night: Path | None = None
    services: bool = False
    platform: Platform = "knative"


def make_surroundings(options: DemoOptions, folders: Folders) -> Surroundings:
    """Return the services of the demo, not yet started."""
    if options.services:
        return RealServices(folders.work / "services", options.platform)
    return EmbeddedServices()


def make_world(
    options: DemoOptions,
    folders: Folders,
    surroundings: Surroundings,
    processes: Processes,
    progress: Progress,
) -> World:
    """Start the services and fill them: repository, APDB and pool of raws.

    Raises
    ------
    ProcessFailedError
        A service does not start.
    """
    for name in _STAYS_AWAY:
        os.environ.pop(name, None)
    os.environ.update(
        AWS_ACCESS_KEY_ID="demo",
        AWS_SECRET_ACCESS_KEY="demo-secret",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        # Checksums of 30 MB in Python, twice per image, would only delay it.
        AWS_REQUEST_CHECKSUM_CALCULATION="when_required",
        AWS_RESPONSE_CHECKSUM_VALIDATION="when_required",
    )
    folders.work.mkdir(parents=True, exist_ok=True)
    with progress.step(surroundings.description):
        environment = surroundings.start(processes, folders)
        # For this process and its children.
        os.environ.update(environment)
    with progress.step(
        f"Simulating {options.n_visits} visits of {len(options.detectors)} detectors, their templates "
        "and calibrations"
    ):
        night = _make_night(options, folders)
    with progress.step("Making the central repository"):
        place = surroundings.repository_place(folders)
        environment |= make_repository(night, environment["S3_ENDPOINT_URL"], place)
        os.environ.update(environment)
        companions = surroundings.start_companions(processes, folders, place.root, options.instrument)
    return World(folders, environment, surroundings, companions)


def _make_night(options: DemoOptions, folders: Folders) -> Night:
    if options.night is not None and (options.night / "night.json").exists():
        return Night.load(options.night)
    return build_night(
        folders.night,
        options.instrument,
        options.detectors,
        options.n_visits,
        options.seed,
        # Further processes would take longer to start than small detectors take.
        workers=1 if options.miniature else os.cpu_count() or 1,
        miniature=options.miniature,
    )


def start_prompt_processing(
    options: DemoOptions, world: World, processes: Processes, progress: Progress
) -> tuple[Workers, Process, Process]:
    """Prepare the night and start the workers, the fan-out, the tester and the alerts' reader.

    Returns
    -------
    workers : `Workers`
        The workers, ready.
    upload, reader : `Process`
        The tester, which announces a visit with each line that it gets; the alerts' reader.
    """
    # One worker per detector: its next visit then starts after the previous one, whose DiaObjects it needs.
    n_workers = len(options.detectors)
    with progress.step("Writing the night's init-outputs, starting the activator and the fan-out"):
        # Workers read the init-outputs in their first visit, which has yet to be announced.
        workers = start_workers(
            processes,
            world.folders,
            options.platform,
            options.instrument,
            n_workers,
            world.companions.workers,
        )
        initializer = processes.start("initializer", ["prompt", "initializer"])
        fan_out = write_fan_out_settings(
            world.folders, options.platform, options.instrument, options.detectors, workers.destination
        )
        event_stream = world.companions.event_stream
        processes.start("fan-out", ["prompt", "fanout"], {**fan_out, **event_stream})
        reader = processes.start(
            "alert-reader",
            [
                "python",
                "-m",
                "prompt_processing.demo.alerts",
                world.alert_broker,
                ALERT_TOPIC,
                str(world.folders.alerts),
            ],
        )
        upload = processes.start(
            "upload",
            [
                "prompt",
                "tester",
                "upload",
                options.instrument,
                str(options.n_visits),
                f"--slew={options.slew}",
                f"--exposure={options.exposure}",
                f"--pause={options.pause}",
                f"--manifest={world.folders.manifest}",
                "--step",
            ],
            event_stream,
            takes_lines=True,
        )
        if initializer.wait(120) != 0:
            initializer.check()
        workers.await_ready(120)
    return workers, upload, reader


def take_night(
    options: DemoOptions, world: World, processes: Processes, progress: Progress
) -> tuple[NightResult, subprocess.Popen[str]]:
    """Take the night's visits and wait until each has been processed.

    Returns
    -------
    result : `NightResult`
        The night's results, without the counts of datasets.
    query : `subprocess.Popen`
        The command that lists the datasets, for `.results.count_datasets`.

    Raises
    ------
    ProcessFailedError
        A process ended early.
    """
    workers, upload, reader = start_prompt_processing(options, world, processes, progress)
    with progress.step(
        f"Taking {options.n_visits} visits: prompt tester upload {options.instrument} {options.n_visits}"
    ):
        outcomes = _await_outcomes(options, workers, upload, processes, progress)
    with progress.step("Reading alerts, the APDB and the central repository"):
        _finish_reading(reader, world, outcomes)
        if not world.folders.manifest.exists():
            raise ProcessFailedError(f"No visit was uploaded; see {upload.log}\n{upload.log_tail()}")
        world.surroundings.await_outputs()
        query = start_query(world)
        project_folder(world.folders.outcomes, world.folders.night_database)
        return collect(world, outcomes), query


def _await_outcomes(
    options: DemoOptions, workers: Workers, upload: Process, processes: Processes, progress: Progress
) -> list[VisitOutcome]:
    workers.follow(_REVISIT_AFTER_TASK)
    outcomes: list[VisitOutcome] = []
    expected = options.n_visits * len(options.detectors)
    n_announced = 0
    last_news = time.monotonic()
    while _n_final(outcomes) < expected and time.monotonic() < last_news + _PATIENCE_S:
        processes.check()
        workers.check()
        for outcome in workers.read_outcomes():
            outcomes.append(outcome)
            progress.report(_describe(outcome))
            last_news = time.monotonic()
        n_past = len(workers.past_milestone)
        if n_announced < options.n_visits and n_past >= n_announced * len(options.detectors):
            upload.send_line()
            n_announced += 1
            last_news = time.monotonic()
        time.sleep(0.2)
    upload.end_input()
    if upload.wait(60) != 0:
        upload.check()
    return outcomes


def _n_final(outcomes: Sequence[VisitOutcome]) -> int:
    last = {(one.group, one.detector): one for one in outcomes}
    return sum(one.details["status"] != "retriable" for one in last.values())


def _describe(outcome: VisitOutcome) -> str:
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in outcome.stages.items())
    what = f"visit {outcome.exposure or outcome.group}, detector {outcome.detector}"
    if not outcome.processed:
        return f"{what}: {outcome.details['status']}: {outcome.details['reason']}"
    sent = outcome.counts.get("numAlertsSent", 0)
    return f"{what}: {sent} alerts; seconds: {stages}"


def _finish_reading(reader: Process, world: World, outcomes: Sequence[VisitOutcome]) -> None:
    """Wait for the last alerts, then stop the reader."""
    sent = sum(int(one.counts.get("numAlertsSent", 0)) for one in outcomes)
    deadline = time.monotonic() + _ALERT_READER_TIMEOUT_S
    while len(list(world.folders.alerts.glob("*.avro"))) < sent and time.monotonic() < deadline:
        time.sleep(0.2)
    reader.terminate()
    try:
        reader.wait(20)
    except subprocess.TimeoutExpired as error:
        raise ProcessFailedError(f"{reader.name} did not stop; see {reader.log}") from error


def check_night(options: DemoOptions, result: NightResult) -> None:
    """Check that each visit was uploaded and processed.

    Raises
    ------
    NightFailedError
        Some were not; the message names all of them.
    """
    failed = []
    if (missing := options.n_visits * len(options.detectors) - len(result.visits)) > 0:
        failed.append(f"{missing} images were never uploaded")
    for visit in result.visits:
        if visit.outcome is None:
            failed.append(f"visit {visit.visit}, detector {visit.detector}: no outcome was reported")
        elif not visit.outcome.processed:
            details = visit.outcome.details
            failed.append(
                f"visit {visit.visit}, detector {visit.detector}: {details['status']} with "
                f"{details.get('pipeline') or 'no pipeline'}: {details['reason']}"
            )
    if failed:
        raise NightFailedError("\n".join(failed))


def remove_work(folders: Folders) -> None:
    """Remove the files that are useless without the services."""
    shutil.rmtree(folders.work, ignore_errors=True)
