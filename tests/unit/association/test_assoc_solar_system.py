"""Minor planets, from an mpSky double that speaks its protocol over HTTP."""

import io
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time, TimeDelta
from connected_tasks import connected
from lsst.alert.packet import Schema
from lsst.daf.butler import Timespan
from lsst.pipe.base.utils import RegionTimeInfo
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d

from prompt_processing.alerts.packets import AlertContent, AlertEncoder
from prompt_processing.association.associate_visit import PreloadedCatalogs, associate_visit
from prompt_processing.association.ephemerides import (
    EphemeridesUnavailableError,
    no_ephemerides,
    query_ephemerides,
    read_response,
)
from prompt_processing.association.minor_planet_ids import pack_provisional_designation, ss_object_id
from prompt_processing.tasks.mpsky_ephemeris_query import MPSkyEphemerisQueryTask

TMIN = 60836.0


def direction(ra: float, dec: float) -> np.ndarray:
    a, d = np.radians([ra, dec])
    return np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def answer(objects: list[dict], mjd: float, extended: bool = False) -> bytes:
    """What mpSky says of objects that are at (ra, dec) at ``mjd`` and move ``rate`` degrees a day east."""
    observer = np.zeros((3, 3))
    observer[0], observer[1] = [0.9, 0.3, 0.1], [-0.005, 0.016, 0.0]
    t = mjd - TMIN
    polynomials = np.zeros((3, 3, len(objects)))
    for k, known in enumerate(objects):
        distance = known.get("distance", 1.5)
        towards = direction(known["ra"], known["dec"])
        east = direction(known["ra"] + 90, 0.0)
        velocity = distance * np.radians(known.get("rate", 0.2)) * east
        # The observer moves along as the object does, so that the sky motion is the object's own.
        polynomials[0, :, k] = observer[0] + distance * towards - velocity * t
        polynomials[1, :, k] = observer[1] + velocity
    names = [known["name"] for known in objects]
    n = len(names)
    columns = {
        "name": pa.array(names, pa.string()),
        "ra": pa.array([known["ra"] for known in objects], pa.float64()),
        "dec": pa.array([known["dec"] for known in objects], pa.float64()),
        "tmin": pa.array([TMIN] * n, pa.float64()),
        "tmax": pa.array([TMIN + 1.0] * n, pa.float64()),
    }
    if extended:
        columns |= {
            "Vmag": pa.array([21.5] * n, pa.float64()),
            "id": pa.array([str(k + 1) for k in range(n)], pa.string()),
            "designation": pa.array(names, pa.string()),
            "packed_primary_provisional_designation": pa.array(
                [pack_provisional_designation(name) for name in names], pa.string()
            ),
            "unpacked_primary_provisional_designation": pa.array(names, pa.string()),
            "mpc_orb_jsonb": pa.array(["{}"] * n, pa.string()),
            "created_at": pa.array([None] * n, pa.string()),
            "nopp": pa.array([3.0] * n, pa.float64()),
            "q": pa.array([2.0] * n, pa.float64()),
            "e": pa.array([0.1] * n, pa.float64()),
            "yarkovsky": pa.array([np.nan] * n, pa.float64()),
        }
    stream = pa.BufferOutputStream()
    pa.ipc.write_tensor(pa.Tensor.from_numpy(polynomials), stream)
    pa.ipc.write_tensor(pa.Tensor.from_numpy(observer), stream)
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return stream.getvalue().to_pybytes()


@pytest.fixture
def mpsky():
    """A service that answers with ``server.content`` and remembers what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.queries.append(
                {name: values[0] for name, values in parse_qs(urlparse(self.path).query).items()}
            )
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(self.server.content)

        def log_message(self, *_) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.queries, server.content, server.status = [], b"", 200
    server.url = f"http://127.0.0.1:{server.server_port}/ephemerides/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _region_time() -> RegionTimeInfo:
    begin = Time(TMIN + 0.25, format="mjd", scale="tai")
    return RegionTimeInfo(
        region=Circle(UnitVector3d(LonLat.fromDegrees(150.0, 2.0)), Angle.fromDegrees(0.1)),
        timespan=Timespan(begin, begin + TimeDelta(30, format="sec")),
    )


def test_service_is_asked_for_the_padded_cone_at_the_middle_of_the_visit(mpsky) -> None:
    mpsky.content = answer([{"name": "2016 QU27", "ra": 150.01, "dec": 2.0}], TMIN + 0.25)
    task = connected(MPSkyEphemerisQueryTask(), mpsky.url)
    objects = task.run(region_time=_region_time()).ss_objects
    (query,) = mpsky.queries
    assert float(query["t"]) == pytest.approx(TMIN + 0.25 + 15 / 86400, abs=1e-9)
    assert (float(query["ra"]), float(query["dec"])) == pytest.approx((150.0, 2.0))
    assert float(query["radius"]) == pytest.approx(0.308, abs=1e-6)
    assert objects["designation"].tolist() == ["2016 QU27"]
    assert objects["ssObjectId"].tolist() == [ss_object_id("2016 QU27")]
    assert objects["obj_x_poly"].shape == (1, 3)
    assert task.metadata["numSsObjects"] == 1


@pytest.mark.parametrize("status", [404, 500])
def test_service_that_refuses_means_no_objects_and_a_warning(mpsky, caplog, status) -> None:
    mpsky.status = status
    task = connected(MPSkyEphemerisQueryTask(), mpsky.url)
    assert len(task.run(region_time=_region_time()).ss_objects) == 0
    assert str(status) in caplog.text
    assert task.metadata["ephemeridesAnswered"] is False


@pytest.mark.parametrize("content", [b"", b"<html>not Arrow</html>", answer([], TMIN)[:-300]])
def test_unreadable_answer_means_no_objects_and_a_warning(mpsky, caplog, content) -> None:
    mpsky.content = content
    assert (
        len(connected(MPSkyEphemerisQueryTask(), mpsky.url).run(region_time=_region_time()).ss_objects) == 0
    )
    assert "Unreadable response" in caplog.text


def test_unreachable_service_means_no_objects_and_a_warning(caplog) -> None:
    task = connected(MPSkyEphemerisQueryTask(), "http://127.0.0.1:9/ephemerides/")
    assert len(task.run(region_time=_region_time()).ss_objects) == 0
    assert "No response from" in caplog.text


def test_without_a_service_the_log_says_so(caplog) -> None:
    result = MPSkyEphemerisQueryTask().run(region_time=_region_time())
    assert result.ss_objects.colnames == no_ephemerides().colnames
    assert "MP_SKY_URL is not set" in caplog.text


def test_answer_with_no_objects_is_an_answer(mpsky) -> None:
    mpsky.content = answer([], TMIN)
    table = query_ephemerides(mpsky.url, TMIN, 1.0, 2.0, 0.3, 2.0)
    assert len(table) == 0
    assert table.colnames == no_ephemerides().colnames


def test_slow_service_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(EphemeridesUnavailableError):
            query_ephemerides(url, TMIN, 1.0, 2.0, 0.3, 0.2)


@pytest.mark.parametrize(
    ("designation", "packed"),
    [
        ("1995 XA", "J95X00A"),
        ("1995 XL1", "J95X01L"),
        ("1998 SQ108", "J98SA8Q"),
        ("2007 TA418", "K07Tf8A"),
        ("2040 P-L", "PLS2040"),
        ("3138 T-1", "T1S3138"),
        ("K07Tf8A", "K07Tf8A"),
    ],
)
def test_designations_pack_as_the_minor_planet_center_says(designation: str, packed: str) -> None:
    assert pack_provisional_designation(designation) == packed
    assert ss_object_id(designation).to_bytes(7, "big").decode() == packed


@pytest.mark.parametrize("designation", ["", "Ceres", "1995 ZA", "1995 XA620", "1995 IA"])
def test_what_has_no_packed_form_has_no_id(designation: str) -> None:
    with pytest.raises(ValueError, match=r"[Dd]esignation"):
        ss_object_id(designation)


def _visit(dia_field, known: list[dict], extended: bool = False):
    ra, dec = dia_field.grid(5)
    flux = np.full(5, 3000.0)
    ephemerides = read_response(answer(known, dia_field.visit_info(0).mid_mjd_tai, extended))
    return associate_visit(
        dia_field.standardized(0, ra, dec, flux),
        PreloadedCatalogs(
            dia_field.schemas.dia_object.empty(),
            dia_field.schemas.dia_source.empty(),
            dia_field.schemas.dia_forced_source.empty(),
            ephemerides,
        ),
        dia_field.exposure(0, ra, dec, flux),
        dia_field.exposure(1, ra, dec, flux),
        dia_field.visit_info(0),
        dia_field.schemas,
        Time.now(),
    )


def test_source_at_a_prediction_is_the_minor_planet_and_begins_no_object(dia_field) -> None:
    ra, dec = dia_field.grid(5)
    known = [
        {"name": "2016 QU27", "ra": ra[2], "dec": dec[2], "rate": 0.2, "distance": 1.5},
        {"name": "1995 XA", "ra": ra[4] + 5 / 3600, "dec": dec[4]},
        {"name": "1995 XL1", "ra": dia_field.ra0 + 1.0, "dec": dec[4]},
    ]
    visit = _visit(dia_field, known)
    assert visit.n_new_objects == 4
    assert visit.n_ss_expected == 2
    source = visit.sources[visit.sources["ssObjectId"].notna()].iloc[0]
    assert source["ssObjectId"] == ss_object_id("2016 QU27")
    assert visit.sources["diaObjectId"].isna().sum() == 1
    (row,) = visit.ss_sources.to_dict("records")
    assert row["diaSourceId"] == source["diaSourceId"]
    assert row["ephOffset"] < 0.1
    assert row["topoRange"] == pytest.approx(1.5, rel=1e-6)
    assert row["ephRateRa"] == pytest.approx(0.2, rel=1e-6)
    assert row["ephRateDec"] == pytest.approx(0.0, abs=1e-9)
    assert row["topoRangeRate"] == pytest.approx(0.0, abs=1e-9)
    assert row["ephOffsetAlongTrack"] == pytest.approx(row["ephOffsetRa"], abs=1e-6)
    assert row["galLat"] == pytest.approx(SkyCoord(ra[2], dec[2], unit="deg").galactic.b.deg, abs=1e-3)
    assert 0 < row["phaseAngle"] < 180
    # Sun, observer and object are a triangle.
    sun_observer = np.linalg.norm([row[f"helio_{a}"] - row[f"topo_{a}"] for a in "xyz"])
    elongation, phase = np.radians([row["elongation"], row["phaseAngle"]])
    assert row["helioRange"] * np.sin(phase) == pytest.approx(sun_observer * np.sin(elongation), rel=1e-9)


def test_prediction_outside_of_its_time_is_not_used(dia_field) -> None:
    ra, dec = dia_field.grid(5)
    dia_field.first_mjd += 3
    visit = _visit(dia_field, [{"name": "2016 QU27", "ra": ra[2], "dec": dec[2]}])
    assert visit.sources["ssObjectId"].isna().all()
    assert visit.n_new_objects == 5


def test_alert_of_a_minor_planet_tells_its_prediction_and_orbit(dia_field) -> None:
    ra, dec = dia_field.grid(5)
    visit = _visit(dia_field, [{"name": "2016 QU27", "ra": ra[2], "dec": dec[2]}], extended=True)
    content = AlertContent(
        visit.sources, visit.objects, visit.history, visit.forced_history, visit.ss_sources, visit.orbits
    )
    images = [dia_field.exposure(k) for k in range(3)]
    schema = Schema.from_file().definition
    records = [
        fastavro.schemaless_reader(io.BytesIO(alert.message[5:]), schema)
        for alert in AlertEncoder().prepare(content).alerts(*images)
    ]
    (planet,) = (record for record in records if record["ssSource"])
    assert planet["diaObject"] is None
    assert planet["diaSource"]["diaObjectId"] is None
    assert planet["ssSource"]["designation"] == "2016 QU27"
    assert planet["ssSource"]["ssObjectId"] == planet["diaSource"]["ssObjectId"]
    assert planet["ssSource"]["ephVmag"] == 21.5
    assert planet["mpc_orbits"]["e"] == 0.1
    assert planet["mpc_orbits"]["nopp"] == 3
    assert planet["mpc_orbits"]["yarkovsky"] is None
    assert sum(record["diaObject"] is not None for record in records) == 4
