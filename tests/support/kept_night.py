"""A small night as `prompt demo --keep` leaves one: repository, database of the night, and APDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from lsst.daf.butler import Butler, CollectionType, DatasetType, Timespan
from night_messages import NIGHT, START, a_visit, ended
from small_exposure import an_exposure
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, String, create_engine, insert
from sqlalchemy import Table as SqlTable

from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.outcome import Status
from prompt_processing.domain.sky_vectors import unit_vectors
from prompt_processing.images import Exposure
from prompt_processing.instruments.camera import load_camera
from prompt_processing.nights.store import NightStore
from prompt_processing.nights.tables import open_engine
from prompt_processing.repository.central import create_repository
from prompt_processing.repository.instrument_records import insert_instrument

__all__ = [
    "CHAIN",
    "DETECTORS",
    "EVIL",
    "NIGHT",
    "OBJECT",
    "SHAPE",
    "VISITS",
    "make_apdb",
    "make_kept_night",
    "source_id",
]

INSTRUMENT = "LSSTCam"
VISITS = (2026053100101, 2026053100102)
DETECTORS = (94, 95)
CHAIN = "LSSTCam/prompt/output-2026-05-31"
SHAPE = (300, 280)
OBJECT = 3_476_249_696_626_802_690
EVIL = "<script>window.evil=1</script>'\"<img src=x onerror=window.evil=1>../../etc/passwd"
_RUN = f"{CHAIN}/ApPipe/test"
_TYPES = {
    "preliminary_visit_image": "VisitImage",
    "template_matched": "DifferenceImage",
    "difference_image": "DifferenceImage",
}


def source_id(visit: int, detector: int, number: int = 0) -> int:
    """Return an id that a browser would round if it were a number."""
    return 3_476_249_696_626_802_000 + VISITS.index(visit) * 100 + DETECTORS.index(detector) * 10 + number


def make_kept_night(folder: Path) -> Path:
    """Make the night; the last detector of the last visit has failed."""
    _make_repository(folder / "repository")
    _make_nights(folder / "night.db")
    make_apdb(folder / "apdb.db")
    (folder / "alerts").mkdir()
    return folder


def an_image(seed: int) -> Exposure:
    exposure = an_exposure(SHAPE)
    rng = np.random.default_rng(seed)
    exposure.image[:] = rng.normal(100.0, 30.0, SHAPE)
    exposure.image[150, 140] = 5000.0
    exposure.mask[148:153, 138:143] |= 1 << 5
    return exposure


def sources(visit: int, detector: int) -> Table:
    return Table(
        {
            "diaSourceId": np.array([source_id(visit, detector, n) for n in range(3)], np.int64),
            "x": [140.0, 60.0, 200.0],
            "y": [150.0, 80.0, 220.0],
            "ra": [53.001, 53.002, 53.003],
            "dec": [-28.0, -28.001, -28.002],
            "snr": [50.0, 8.0, 12.0],
            "reliability": [0.98, 0.2, np.nan],
            "isNegative": [False, True, False],
            "isDipole": [False, False, True],
        }
    )


def _make_repository(root: Path) -> None:
    use_butler_types()
    create_repository(str(root))
    camera = load_camera(INSTRUMENT)
    with Butler.from_config(str(root), writeable=True) as butler:
        insert_instrument(butler, camera)
        dimensions = butler.dimensions
        for name, storage_class in _TYPES.items():
            butler.registry.registerDatasetType(
                DatasetType(name, ("instrument", "visit", "detector"), storage_class, universe=dimensions)
            )
        butler.registry.registerDatasetType(
            DatasetType(
                "dia_source_detector",
                ("instrument", "visit", "detector"),
                "ArrowAstropy",
                universe=dimensions,
            )
        )
        butler.collections.register(_RUN)
        butler.collections.register(CHAIN, CollectionType.CHAINED)
        butler.collections.redefine_chain(CHAIN, [_RUN])
        butler.registry.insertDimensionData("day_obs", {"instrument": INSTRUMENT, "id": NIGHT})
        butler.registry.insertDimensionData("group", {"instrument": INSTRUMENT, "name": "g"})
        for visit in VISITS:
            butler.registry.insertDimensionData("visit", _visit_record(visit))
            for detector in DETECTORS:
                if (visit, detector) == (VISITS[-1], DETECTORS[-1]):
                    continue
                where = {"instrument": INSTRUMENT, "visit": visit, "detector": detector}
                for seed, name in enumerate(_TYPES):
                    butler.put(an_image(visit % 100 + 10 * seed), name, where, run=_RUN)
                butler.put(sources(visit, detector), "dia_source_detector", where, run=_RUN)


def _visit_record(visit: int) -> dict[str, Any]:
    return {
        "instrument": INSTRUMENT,
        "id": visit,
        "name": str(visit),
        "day_obs": NIGHT,
        "physical_filter": "r_57",
        "exposure_time": 30.0,
        "timespan": Timespan(None, None),
    }


def _make_nights(path: Path) -> None:
    messages = []
    for number in (1, 2):
        for detector in DETECTORS:
            visit = a_visit(number, detector, START + 40 * number, filters="r_57")
            failed = (number, detector) == (2, DETECTORS[-1])
            status = Status.FAILED if failed else Status.PROCESSED
            reason = EVIL if failed else "ApPipe ran on 1 of 1 snap(s), 30 dataset(s) handed over."
            messages.append(ended(visit, at=START + 40 * number + 40, status=status, reason=reason))
    NightStore(path).write(messages, {})


def make_apdb(place: Path | str) -> None:
    """Make an APDB in a SQLite file, or in the database of a URL."""
    from lsst.sphgeom import HtmPixelization, UnitVector3d

    metadata = MetaData()
    numbers = {
        "psfFlux": Float,
        "psfFluxErr": Float,
        "snr": Float,
        "reliability": Float,
        "x": Float,
        "y": Float,
    }
    sources_table = SqlTable(
        "DiaSource",
        metadata,
        Column("diaSourceId", BigInteger, primary_key=True),
        Column("diaObjectId", BigInteger, index=True),
        Column("ssObjectId", BigInteger, index=True),
        Column("visit", BigInteger, index=True),
        Column("detector", Integer),
        Column("midpointMjdTai", Float),
        Column("ra", Float),
        Column("dec", Float),
        Column("band", String),
        *(Column(name, kind) for name, kind in numbers.items()),
        Column("isNegative", Boolean),
        Column("isDipole", Boolean),
        Column("pixelId", BigInteger, index=True),
    )
    objects = SqlTable(
        "DiaObject",
        metadata,
        Column("diaObjectId", BigInteger, primary_key=True),
        Column("validityStartMjdTai", Float, primary_key=True),
        Column("ra", Float),
        Column("dec", Float),
        Column("nDiaSources", Integer),
    )
    forced = SqlTable(
        "DiaForcedSource",
        metadata,
        Column("diaObjectId", BigInteger, primary_key=True),
        Column("visit", BigInteger, primary_key=True),
        Column("detector", Integer, primary_key=True),
        Column("midpointMjdTai", Float),
        Column("band", String),
        Column("psfFlux", Float),
        Column("psfFluxErr", Float),
    )
    pixels = HtmPixelization(20)
    rows = []
    for visit in VISITS:
        for detector in DETECTORS:
            for number, row in enumerate(sources(visit, detector)):
                vector = unit_vectors(np.array([row["ra"]]), np.array([row["dec"]]))[0]
                rows.append(
                    {
                        "diaSourceId": int(row["diaSourceId"]),
                        "diaObjectId": OBJECT
                        if number == 0 and detector == DETECTORS[0]
                        else OBJECT + 1 + number,
                        "visit": visit,
                        "detector": detector,
                        "midpointMjdTai": 61191.0 + VISITS.index(visit) * 0.001,
                        "ra": float(row["ra"]),
                        "dec": float(row["dec"]),
                        "band": "r" if number else EVIL,
                        "psfFlux": 1000.0 * (number + 1),
                        "psfFluxErr": 30.0,
                        "snr": float(row["snr"]),
                        "reliability": None if number == 2 else float(row["reliability"]),
                        "x": float(row["x"]),
                        "y": float(row["y"]),
                        "isNegative": bool(row["isNegative"]),
                        "isDipole": bool(row["isDipole"]),
                        "pixelId": pixels.index(UnitVector3d(*vector)),
                    }
                )
    engine = (
        open_engine(place, writing=True) if isinstance(place, str) else create_engine(f"sqlite:///{place}")
    )
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(sources_table), rows)
        connection.execute(
            insert(objects),
            [
                {
                    "diaObjectId": OBJECT,
                    "validityStartMjdTai": 61191.0,
                    "ra": 53.001,
                    "dec": -28.0,
                    "nDiaSources": 2,
                }
            ],
        )
        connection.execute(
            insert(forced),
            [
                {
                    "diaObjectId": OBJECT,
                    "visit": visit,
                    "detector": DETECTORS[0],
                    "midpointMjdTai": 61191.0,
                    "band": "r",
                    "psfFlux": flux,
                    "psfFluxErr": 30.0,
                }
                for visit, flux in zip(VISITS, (990.0, 10.0), strict=True)
            ],
        )
    engine.dispose()
