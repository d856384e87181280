"""Sources at the positions of satellites, from a server that speaks Sattle's protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from astropy.time import Time
from dia_field import DiaField
from lsst.sphgeom import DISJOINT, Angle, Circle, ConvexPolygon, LonLat, UnitVector3d

from prompt_processing.association.satellites import SatelliteService
from prompt_processing.domain.errors import RetriableError
from prompt_processing.tasks.connections import Connections
from prompt_processing.tasks.detect_and_measure import DetectAndMeasureDiaSourceTask

EXPECTED = {
    "/visit_cache": {
        "visit_id", "exposure_start_mjd", "exposure_end_mjd", "boresight_ra", "boresight_dec", "historical"
    },
    "/diasource_allow_list": {"visit_id", "detector_id", "diasources", "historical"},
}  # fmt: skip


class Sattle(ThreadingHTTPServer):
    """Knows one satellite, which stands still."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.satellite: Circle | None = None
        self.known: set[tuple[int, bool]] = set()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.out_of_order: dict[str, tuple[int, Any]] = {}

    def answer(self, path: str, content: dict[str, Any]) -> tuple[int, Any]:
        self.requests.append((path, content))
        if set(content) != EXPECTED[path]:
            return 400, "Missing column"
        if path in self.out_of_order:
            return self.out_of_order[path]
        visit = (content["visit_id"], content["historical"])
        if path == "/visit_cache":
            self.known.add(visit)
            return 200, "cached"
        if visit not in self.known:
            return 404, "not present in cache"
        ids = [one["diasource_id"] for one in content["diasources"]]
        allowed: list[Any] = [
            one["diasource_id"] for one in content["diasources"] if not self.hit(one["bbox"])
        ]
        if len(ids) == 1:
            # The service does this with one source.
            allowed = [allowed] if allowed else []
        return 200, {"visit_id": visit[0], "detector_id": content["detector_id"], "allow_list": allowed}

    def hit(self, corners: list[list[float]]) -> bool:
        assert len(corners) == 4
        if self.satellite is None:
            return False
        box = ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])
        return not box.relate(self.satellite) & DISJOINT


class Handler(BaseHTTPRequestHandler):
    server: Sattle

    def do_PUT(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.server.answer(self.path, content)
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sattle() -> Iterator[Sattle]:
    server = Sattle()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def task_of(url: str, **config: Any) -> DetectAndMeasureDiaSourceTask:
    configured = DetectAndMeasureDiaSourceTask.ConfigClass()
    configured.update(**config)
    task = DetectAndMeasureDiaSourceTask(config=configured)
    task.connections = Connections(sattle_url=url)
    return task


def positions(field: DiaField, n: int) -> tuple[np.ndarray, np.ndarray]:
    ra, dec = field.grid(n)
    return np.asarray(ra), np.asarray(dec)


def run(task: DetectAndMeasureDiaSourceTask, field: DiaField, n: int) -> Any:
    image = field.exposure(0, *positions(field, n), [5000.0] * n)
    return task.run(difference=image, science=image, matched=image).sources


@pytest.mark.parametrize("n", [1, 9])
def test_source_at_a_satellite_is_in_no_catalogue(sattle: Sattle, dia_field: DiaField, n: int) -> None:
    ra, dec = positions(dia_field, n)
    task = task_of(sattle.url)
    assert len(run(task, dia_field, n)) == n
    sattle.satellite = Circle(
        UnitVector3d(LonLat.fromDegrees(float(ra[0]), float(dec[0]))),
        Angle.fromDegrees(0.5 / 3600),
    )
    sources = run(task, dia_field, n)
    assert len(sources) == n - 1
    assert not np.any(np.abs(np.asarray(sources["dec"]) - dec[0]) + _apart(sources["ra"], ra[0]) < 1 / 3600)
    assert task.metadata["numSatellites"] == 1


def _apart(ra: Any, other: float) -> np.ndarray:
    return np.abs((np.asarray(ra) - other + 180) % 360 - 180)


def test_service_is_told_when_and_where_the_exposure_was(sattle: Sattle, dia_field: DiaField) -> None:
    run(task_of(sattle.url), dia_field, 4)
    visit = dia_field.visit_info(0)
    (_, announced), (_, asked) = sattle.requests
    assert announced["exposure_start_mjd"] == pytest.approx(visit.mid_mjd_tai - 15 / 86400, abs=1e-9)
    assert announced["exposure_end_mjd"] == pytest.approx(visit.mid_mjd_tai + 15 / 86400, abs=1e-9)
    assert (announced["boresight_ra"], announced["boresight_dec"]) == (
        visit.boresight_ra,
        visit.boresight_dec,
    )
    assert (asked["visit_id"], asked["detector_id"]) == (visit.exposure, visit.detector)
    # All corners are within a few pixels of the source, on both sides of RA 0.
    ra, dec = positions(dia_field, 4)
    for source in asked["diasources"]:
        corners = np.array(source["bbox"])
        distance = np.hypot(_apart(corners[:, :1], ra % 360), corners[:, 1:] - dec)
        assert distance.min(axis=1).max() < 5 / 3600


@pytest.mark.parametrize(("hours", "historical"), [(0.1, False), (30, True)])
def test_old_visits_need_the_satellites_of_their_day(
    sattle: Sattle, dia_field: DiaField, hours: float, historical: bool
) -> None:
    visit = dia_field.visit_info(0)
    now = Time(visit.mid_mjd_tai + hours / 24, format="mjd", scale="tai")
    service = SatelliteService(sattle.url + "/", visit, now=now)
    service.announce()
    assert service.allowed(np.array([7]), np.array([[[0, 0], [0, 1], [1, 1], [1, 0]]])).all()
    assert {content["historical"] for _, content in sattle.requests} == {historical}


def test_forgotten_visit_is_announced_again(sattle: Sattle, dia_field: DiaField) -> None:
    service = SatelliteService(sattle.url, dia_field.visit_info(0))
    box = np.array([[[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]] * 2)
    assert service.allowed(np.array([7, 8]), box).all()
    assert [path for path, _ in sattle.requests] == [
        "/diasource_allow_list",
        "/visit_cache",
        "/diasource_allow_list",
    ]


@pytest.mark.parametrize(
    "answer", [(500, "failed"), (400, "failed"), (200, "<html>"), (200, {}), (200, {"allow_list": "all"})]
)
def test_nothing_is_published_without_an_answer(
    sattle: Sattle, dia_field: DiaField, answer: tuple[int, Any]
) -> None:
    sattle.out_of_order["/diasource_allow_list"] = answer
    with pytest.raises(RetriableError, match="diasource_allow_list"):
        run(task_of(sattle.url), dia_field, 4)


def test_nothing_is_published_if_the_service_is_gone(sattle: Sattle, dia_field: DiaField) -> None:
    sattle.out_of_order["/visit_cache"] = (500, "failed to compute")
    with pytest.raises(RetriableError, match="visit_cache"):
        run(task_of(sattle.url), dia_field, 4)
    with pytest.raises(RetriableError, match="No response"):
        run(task_of("http://127.0.0.1:9"), dia_field, 4)


def test_service_is_not_asked_where_nothing_is_found_or_the_pipeline_says_so(
    sattle: Sattle, dia_field: DiaField
) -> None:
    assert len(run(task_of(sattle.url, removeSatellites=False), dia_field, 4)) == 4
    assert sattle.requests == []
    assert len(run(task_of("", sattleUrl=sattle.url), dia_field, 0)) == 0
    assert [path for path, _ in sattle.requests] == ["/visit_cache"]
