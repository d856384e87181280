"""A worker's last stage alone: the alerts of a few visits, made and sent, and what became of them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from alert_production import DETECTOR, FIRST_VISIT, make_exposure, measured
from astropy.time import Time
from lsst.dax.apdb import Apdb, ApdbSql
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d

from prompt_processing.alerts.connection import AlertConnection
from prompt_processing.alerts.files import UNDERWAY, AlertFile
from prompt_processing.alerts.packets import Alert, AlertEncoder, PreparedAlerts
from prompt_processing.alerts.sender import AlertsOnDemand, send_alerts
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.apdb.preloaded_catalogs import load_dia_catalogs
from prompt_processing.apdb.tables import ApdbSchemas
from prompt_processing.association.associate_visit import PreloadedCatalogs, associate_visit
from prompt_processing.association.ephemerides import no_ephemerides
from prompt_processing.association.standardize import standardize_dia_sources
from prompt_processing.images import Exposure, VisitInfo
from prompt_processing.settings.alerts import AlertSettings
from prompt_processing.transport.kafka import make_producer

_SIZE = 2000
_PACE_S = 0.002
_PEER_ALERTS = 200

Images = tuple[Exposure, Exposure, Exposure]


class _ToldToEndError(BaseException):
    """What SIGTERM becomes in a worker."""


def prepare(folder: Path, n_sources: int, images: Images, visits: Sequence[int]) -> list[PreparedAlerts]:
    """Encode the catalogues of some visits; only the cutouts are then missing."""
    database = f"{folder}/alerts-{os.getpid()}"
    ApdbSql.init_database(db_url=f"sqlite:///{database}.db").save(f"{database}.yaml")
    apdb = Apdb.from_uri(f"{database}.yaml")
    schemas = ApdbSchemas.of(apdb)
    difference, science, _ = images
    processed = Time.now()
    circle = Circle(UnitVector3d(LonLat.fromDegrees(150.0, 2.0)), Angle.fromDegrees(_SIZE * 0.2 / 3600))
    known = load_dia_catalogs(apdb, circle, processed, 0.0)
    preloaded = PreloadedCatalogs(known.objects, known.sources, known.forced_sources, no_ephemerides())
    encoder = AlertEncoder()
    prepared = []
    for visit in visits:
        info = VisitInfo("LSSTCam", visit, DETECTOR, "r_57", "r", 60836.25, 30.0, 150.0, 2.0, 0.0)
        table = measured(n_sources, difference, visit)
        sources = standardize_dia_sources(table, None, info, schemas.dia_source, processed).sources
        found = associate_visit(sources, preloaded, difference, science, info, schemas, processed)
        prepared.append(encoder.prepare(found.alert_content()))
    return prepared


def flushed_rate(settings: AlertStreamSettings, alerts: Sequence[Alert]) -> float:
    """Return the alerts a second of a producer that waits for each."""
    assert settings.broker is not None
    producer = make_producer(settings.broker, enable_idempotence=True)
    begin = time.perf_counter()
    for alert in alerts:
        producer.produce(f"{settings.topic}-flushed", alert.message)
        producer.flush(30)
    return len(alerts) / (time.perf_counter() - begin)


def main(folder: Path, name: str, n_sources: int, n_visits: int, *, paced: bool) -> None:
    """Send alerts, and report."""
    settings = AlertSettings.load().alert_stream
    connection = AlertConnection()
    visits = [FIRST_VISIT + number for number in range(n_visits)]
    difference, science, template = (make_exposure(_SIZE, seed) for seed in range(3))
    prepared = prepare(folder, n_sources, (difference, science, template), visits)
    size = 0

    def alerts(one: PreparedAlerts) -> Iterator[Alert]:
        nonlocal size
        for alert in one.alerts(difference, science, template):
            size += len(alert.message)
            yield alert

    def write(visit: int, one: PreparedAlerts) -> AlertFile:
        return AlertFile.write(settings.keep_directory, visit, DETECTOR, 0.0, alerts(one), UNDERWAY)

    def slowly(file: AlertFile) -> Iterator[Alert]:
        for alert in file:
            time.sleep(_PACE_S)
            yield alert

    def send(visit: int, file: AlertFile) -> int:
        source = AlertsOnDemand(lambda: slowly(file)) if paced else file
        return send_alerts(settings, visit, DETECTOR, source, connection, file).sent

    if not paced:
        # The connection, and whatever is made once a process.
        send(visits[0], write(visits[0], prepared[0]))
        size = 0
    made: list[int] = []
    sent = 0
    begin, cpu = time.perf_counter(), time.process_time()
    for visit, one in zip(visits, prepared, strict=True):
        made += one.source_ids
        # As a worker does: on the disk before the commit, and from there to the broker.
        file = write(visit, one)
        # From here on its sources are in the APDB, and each is owed an alert.
        _write(folder / f"{name}.made", made)
        (folder / f"{name}.begun").touch()
        sent += send(visit, file)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    report = {"made": len(made), "sent": sent, "rate": len(made) / seconds, "cpu": cpu, "bytes": size}
    if not paced:
        report["flushed_rate"] = flushed_rate(settings, list(alerts(prepared[0]))[:_PEER_ALERTS])
    _write(folder / f"{name}.report", report)


def _write(path: Path, content: object) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)


def _on_signal(number: int, frame: FrameType | None) -> None:
    raise _ToldToEndError


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _on_signal)
    try:
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), paced=sys.argv[5] == "1")
    except _ToldToEndError:
        sys.exit(0)
