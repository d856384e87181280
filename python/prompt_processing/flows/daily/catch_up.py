"""The flow that finishes what a night left unfinished."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_processing.butler.opening import open_repository

from ..errors import FlowError
from ..flow import flow
from ..run import FlowRun

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from prompt_processing.domain.visit import NextVisit
    from prompt_processing.settings.worker import Settings

    from .catching_up.gaps import Arrived, Gap, NightRecord
    from .catching_up.worker import Work

_RETRY_SECONDS = 5.0


@flow
def catch_up(
    run: FlowRun,
    *,
    night: str,
    announcements: Path | None = None,
    topic: str = "",
    raws: Path | None = None,
    outcomes: Path | None = None,
    fanout_config: Path | None = None,
    detectors: tuple[int, ...] = (),
    patience: float = 3600.0,
) -> None:
    """Process visits that were announced, or whose raws arrived, and that have no final outcome.

    Announcements, raws, outcomes, central repository and APDB are compared. What is missing is processed with
    the worker's own code and settings, in the order of the visits, by one process a detector. The APDB is
    checked again before each write, and is never written twice. Exports that dead workers left are finished.

    The settings are those of the worker, from the environment.

    Parameters
    ----------
    run
        The run of the flow.
    night
        Observing day, YYYY-MM-DD.
    announcements
        File of announced visits, one JSON object a line, or a recording of prompt replay --write.
    topic
        Topic of KAFKA_CLUSTER with the announcements, such as next-visit-topic.
    raws
        Folder of the raws; by default IMAGE_BUCKET.
    outcomes
        File or folder of the workers' outcomes; by default OUTCOME_TOPIC or OUTCOME_DIR.
    fanout_config
        The fan-out's file of active detectors; by default all detectors of the camera.
    detectors
        Only these detectors; by default all.
    patience
        Seconds; what was announced or arrived later than this before now is left to the workers.
    """
    from prompt_processing.butler.types import use_butler_types

    from .catching_up.gaps import Remedy, find_gaps
    from .catching_up.worker import process_works, worker_settings
    from .values import day_of

    day = day_of(night)
    use_butler_types()
    settings = worker_settings()
    with open_repository(settings.central_repo) as butler:
        record = _read_record(
            butler, settings, day, announcements, topic, raws, outcomes, _detectors(settings, fanout_config)
        )
    gaps = [
        gap for gap in find_gaps(record, time.time() - patience) if not detectors or gap.detector in detectors
    ]
    _show(run, gaps)
    to_process = [gap for gap in gaps if gap.remedy is Remedy.PROCESS]
    unfinished = [gap for gap in gaps if gap.remedy is Remedy.FINISH_EXPORT]
    if run.dry_run:
        _show_cost(run, settings, to_process)
        return
    if unfinished:
        _finish_exports(run, settings, patience)
    failed = 0
    rows = []
    for _, processed in run.map(process_works, _works(to_process), "detectors"):
        for one in processed:
            failed += one.status != "processed"
            rows.append(
                {
                    "visit": one.group,
                    "detector": one.detector,
                    "outcome": one.status,
                    "reason": one.reason,
                }
            )
    run.table("Processed", sorted(rows, key=lambda row: (str(row["visit"]), int(str(row["detector"])))))
    if failed:
        raise FlowError(f"{failed} of {len(rows)} were not processed; the table has the reasons")


def _read_record(
    butler: Butler,
    settings: Settings,
    night: int,
    announcements: Path | None,
    topic: str,
    raws: Path | None,
    outcomes: Path | None,
    detectors_of: Callable[[NextVisit], Iterable[int]],
) -> NightRecord:
    from prompt_processing.apdb.connection import ApdbConnection
    from prompt_processing.apdb.record import ApdbRecord

    from .catching_up.announcements import (
        announced_visits,
        lines_of,
        messages_of,
        published_outcomes,
        recorded_visit,
    )
    from .catching_up.gaps import NightRecord
    from .catching_up.processed import lacking_outputs, unfinished_exports
    from .values import noon_of

    instrument = settings.rubin_instrument
    begin = noon_of(night)
    decode: Callable[[bytes], NextVisit | None] = recorded_visit
    lines: Iterable[bytes] = ()
    if announcements is not None:
        lines = lines_of(announcements)
    elif topic:
        decode = _decoder()
        lines = messages_of(settings.kafka, topic, begin)
    published: Iterable[bytes] = ()
    if outcomes is not None:
        published = lines_of(outcomes)
    elif settings.outcome_topic:
        published = messages_of(settings.kafka, settings.outcome_topic, begin)
    elif settings.outcome_dir and Path(settings.outcome_dir).is_dir():
        published = lines_of(Path(settings.outcome_dir))
    apdb = ApdbRecord(settings.config_apdb, ApdbConnection())
    return NightRecord(
        announced_visits(lines, decode, instrument, night, detectors_of),
        _arrived(settings, raws, night),
        published_outcomes(published, instrument, night),
        lacking_outputs(butler, instrument, night),
        unfinished_exports(butler, _RETRY_SECONDS),
        lambda exposure, detector: apdb.contains([exposure], detector),
    )


def _arrived(settings: Settings, raws: Path | None, night: int) -> list[Arrived]:
    from prompt_processing.instruments.raw_store import RawStore
    from prompt_processing.transport.s3 import make_s3_client, split_bucket

    from .catching_up.raws import raws_in_bucket, raws_in_folder

    if raws is not None:
        return raws_in_folder(raws, settings.rubin_instrument, night)
    client = make_s3_client(
        settings.s3_endpoint_url,
        validate_bucket_names=not settings.lsst_disable_bucket_validation,
        profile=split_bucket(settings.image_bucket)[0],
    )
    return raws_in_bucket(RawStore(client, settings.image_bucket), settings.rubin_instrument, night)


def _decoder() -> Callable[[bytes], NextVisit]:
    """Return what reads the messages of a topic, with the schema registry of the environment."""
    from prompt_processing.fanout.messages import decode_next_visit
    from prompt_processing.settings.kafka import SchemaRegistrySettings

    registry = SchemaRegistrySettings.load().schema_registry
    return lambda message: decode_next_visit(message, registry)


def _detectors(settings: Settings, config: Path | None) -> Callable[[NextVisit], Iterable[int]]:
    """Return what tells the detectors that a visit is sent to."""
    if config is None:
        from prompt_processing.instruments.camera import load_camera

        known = sorted(load_camera(settings.rubin_instrument).detectors)
        return lambda visit: known
    from prompt_processing.fanout.config import ConfigurationError, DetectorMap

    try:
        return DetectorMap.load(config).active_detectors
    except ConfigurationError as error:
        raise FlowError(str(error)) from error


def _works(gaps: Sequence[Gap]) -> list[list[Work]]:
    """Return the work of each detector, in the order of the visits: each needs the history before it."""
    from .catching_up.raws import announcement_of_raw
    from .catching_up.worker import Work

    by_detector: defaultdict[int, list[Work]] = defaultdict(list)
    for gap in gaps:
        visit = announcement_of_raw(gap.raws) if gap.visit is None else gap.visit.for_detector(gap.detector)
        by_detector[gap.detector].append(Work(visit.model_dump_json(), gap.raws))
    return [by_detector[detector] for detector in sorted(by_detector)]


def _show(run: FlowRun, gaps: Sequence[Gap]) -> None:
    counts = Counter((gap.kind, gap.remedy) for gap in gaps)
    run.say(f"{len(gaps)} gaps.")
    run.table(
        "Gaps by kind",
        [{"kind": kind, "gaps": count, "remedy": remedy} for (kind, remedy), count in sorted(counts.items())],
    )
    run.table(
        "Gaps",
        [
            {
                "visit": gap.group,
                "detector": gap.detector,
                "kind": gap.kind,
                "remedy": gap.remedy,
                "reason": gap.reason,
            }
            for gap in gaps
        ],
    )


def _show_cost(run: FlowRun, settings: Settings, gaps: Sequence[Gap]) -> None:

    from .catching_up.processed import cost_of_image
    from .cost import cost_row

    with open_repository(settings.central_repo) as butler:
        cost = cost_of_image(butler, settings.rubin_instrument)
    run.table("Cost", [cost_row("process", len(gaps), cost)])


def _finish_exports(run: FlowRun, settings: Settings, patience: float) -> None:
    from prompt_processing.butler_writer.unfinished import finish_repository

    report = finish_repository(settings.central_repo, patience)
    run.say(
        f"{report.finished} exports finished, {report.cleared} removed, {report.young} too recent, "
        f"{report.left} left."
    )
