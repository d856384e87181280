"""Measure the rate of alerts from DiaSources, and the time that the APDB needs for them.

    python benchmarks/alert_production.py [--sources 500] [--visits 4] [--size 2000]

One detector is observed several times with the same sources; each visit has the history of the earlier
ones. The APDB uses SQLite, and librdkafka's mock cluster is the broker. Everything runs in one process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS
from confluent_kafka import Producer
from lsst.dax.apdb import Apdb, ApdbSql
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d

from prompt_processing.alerts.packets import AlertEncoder
from prompt_processing.alerts.sender import send_alerts
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.apdb.preloaded_catalogs import load_dia_catalogs
from prompt_processing.apdb.tables import ApdbSchemas
from prompt_processing.apdb.write import write_visit_detector
from prompt_processing.association.associate_visit import PreloadedCatalogs, associate_visit
from prompt_processing.association.ephemerides import no_ephemerides
from prompt_processing.association.standardize import standardize_dia_sources
from prompt_processing.domain.ids import pack_ids
from prompt_processing.images import Exposure, Psf, VisitInfo
from prompt_processing.transport.kafka import KafkaSettings

RA, DEC, FIRST_VISIT, FIRST_MJD, DETECTOR = 150.0, 2.0, 2025060900001, 60836.25, 94


class Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def make_exposure(size: int, seed: int) -> Exposure:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [size / 2, size / 2]
    wcs.wcs.crval = [RA, DEC]
    wcs.wcs.cd = np.diag([-0.2, 0.2]) / 3600
    wcs.wcs.set()
    y, x = np.mgrid[-12:13, -12:13]
    coefficients = np.zeros((6, 25, 25), np.float32)
    coefficients[0] = np.exp(-0.5 * (x**2 + y**2) / 1.7**2)
    psf = Psf(coefficients, 2, size / 2, size / 2, size / 2)
    exposure = Exposure.blank((size, size), wcs=wcs, psf=psf)
    exposure.image[:] = np.random.default_rng(seed).normal(0, 10, (size, size))
    exposure.variance[:] = 100
    return exposure


def measured(n: int, exposure: Exposure, visit: int) -> Table:
    per_row = int(np.ceil(np.sqrt(n)))
    steps = np.linspace(20, exposure.shape[0] - 20, per_row)
    x, y = (axis.ravel()[:n] for axis in np.meshgrid(steps, steps))
    ra, dec = exposure.wcs.all_pix2world(x, y, 0)
    columns = {"diaSourceId": pack_ids(visit, DETECTOR, range(n)), "x": x, "y": y, "ra": ra, "dec": dec}
    for name in (
        "raErr",
        "decErr",
        "psfFlux",
        "psfFluxErr",
        "scienceFlux",
        "scienceFluxErr",
        "apFlux",
        "ixx",
    ):
        columns[name] = np.full(n, 1.5)
    return Table({**columns, "bboxSize": np.full(n, 21)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sources", type=int, default=500)
    parser.add_argument("--visits", type=int, default=4)
    parser.add_argument("--size", type=int, default=2000, help="width of the images, pixels")
    options = parser.parse_args()
    n = options.sources
    folder = Path(tempfile.mkdtemp())
    ApdbSql.init_database(db_url=f"sqlite:///{folder}/apdb.db").save(str(folder / "apdb.yaml"))
    watch = Stopwatch()
    apdb = Apdb.from_uri(str(folder / "apdb.yaml"))
    watch.lap("open")
    print(f"open the APDB: {watch.seconds['open']:.2f} s")
    schemas = ApdbSchemas.of(apdb)
    difference, science, template = (make_exposure(options.size, seed) for seed in range(3))
    region = Circle(UnitVector3d(LonLat.fromDegrees(RA, DEC)), Angle.fromDegrees(options.size * 0.2 / 3600))
    host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    server = ",".join(f"{b.host}:{b.port}" for b in host.list_topics(timeout=10).brokers.values())
    broker = AlertStreamSettings(KafkaSettings(bootstrap_servers=server), "alerts", folder / "kept")
    encoder = AlertEncoder()
    for number in range(options.visits):
        visit = FIRST_VISIT + number
        info = VisitInfo("LSSTCam", visit, DETECTOR, "r_57", "r", FIRST_MJD + number, 30.0, RA, DEC, 0.0)
        table = measured(n, difference, visit)
        processed = Time.now()
        watch = Stopwatch()
        known = load_dia_catalogs(apdb, region, processed, 0.0)
        watch.lap("load")
        sources = standardize_dia_sources(table, None, info, schemas.dia_source, processed).sources
        watch.lap("standardize")
        preloaded = PreloadedCatalogs(known.objects, known.sources, known.forced_sources, no_ephemerides())
        found = associate_visit(sources, preloaded, difference, science, info, schemas, processed)
        watch.lap("associate")
        prepared = encoder.prepare(found.alert_content())
        watch.lap("prepare")
        write_visit_detector(
            apdb, visit, DETECTOR, processed, found.objects, found.sources, found.forced_sources
        )
        watch.lap("write")
        made = sum(len(alert.message) for alert in prepared.alerts(difference, science, template))
        watch.lap("make")
        report = send_alerts(broker, visit, DETECTOR, prepared.alerts(difference, science, template))
        watch.lap("make+send")
        laps = "  ".join(f"{name} {seconds:.3f}" for name, seconds in watch.seconds.items())
        making = watch.seconds["prepare"] + watch.seconds["make"]
        sending = watch.seconds["prepare"] + watch.seconds["make+send"]
        print(
            f"visit {number}: {laps} s; {n / making:.0f} alerts/s made, {n / sending:.0f} alerts/s sent, "
            f"{made / n / 1e3:.0f} kB each, {report.sent} sent"
        )


if __name__ == "__main__":
    main()
