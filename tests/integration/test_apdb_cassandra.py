"""An APDB in Cassandra, found by its label in an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from astropy import units as u
from astropy.time import Time
from cassandra_server import Cassandra, running_cassandra
from dia_field import DiaField
from lsst.dax.apdb.cassandra import ApdbCassandra
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d

from prompt_processing.apdb.claim import was_committed
from prompt_processing.apdb.connection import ApdbConnection
from prompt_processing.apdb.preloaded_catalogs import load_dia_catalogs
from prompt_processing.apdb.record import ApdbRecord
from prompt_processing.apdb.tables import ApdbSchemas
from prompt_processing.apdb.version import check_apdb_version
from prompt_processing.apdb.write import AlreadyInApdbError, require_not_in_apdb, write_visit_detector
from prompt_processing.association.associate_visit import PreloadedCatalogs, associate_visit
from prompt_processing.association.ephemerides import no_ephemerides
from prompt_processing.domain.errors import RetriableError
from prompt_processing.repository.check import Severity
from prompt_processing.repository.check_apdb import check_apdb

pytestmark = pytest.mark.services

LABEL = "label:dev"


@pytest.fixture(scope="module")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cassandra]:
    with running_cassandra(tmp_path_factory.mktemp("cassandra") / "node") as running:
        yield running


def make_apdb(port: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an APDB whose tables by month reach the present, when rows are processed."""
    now = Time.now()
    config = ApdbCassandra.init_database(
        ("127.0.0.1",),
        "apdb",
        port=port,
        replication_factor=1,
        time_partition_start=(now - 60 * u.day).isot,
        time_partition_end=(now + 60 * u.day).isot,
        read_consistency="ONE",
        write_consistency="ONE",
    )
    config.save(str(folder / "apdb.yaml"))
    index = folder / "index.yaml"
    index.write_text(f"dev: {folder / 'apdb.yaml'}\n")
    monkeypatch.setenv("DAX_APDB_INDEX_URI", str(index))


def test_visits_are_written_once_and_a_lost_database_is_a_passing_failure(
    cassandra: Cassandra,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_apdb(cassandra.port, tmp_path, monkeypatch)
    check_apdb_version(LABEL)
    assert "cannot be opened" not in caplog.text
    assert check_apdb(LABEL).severity is Severity.OK
    dia_field = DiaField()
    connection = ApdbConnection()
    apdb = connection.get(LABEL)
    record = ApdbRecord(LABEL, connection)
    dia_field.schemas = ApdbSchemas.of(apdb)
    dia_field.first_mjd = float(Time.now().tai.mjd) - 5
    region = Circle(UnitVector3d(LonLat.fromDegrees(dia_field.ra0, dia_field.dec0)), Angle.fromDegrees(0.02))
    ra, dec = dia_field.grid(9)
    flux = [5000.0] * 9
    for number, known in ((0, 0), (1, 9)):
        visit = dia_field.visit_info(number)
        when = Time(visit.mid_mjd_tai, format="mjd", scale="tai")
        before = load_dia_catalogs(apdb, region, when, 30.0)
        assert [len(one) for one in (before.objects, before.sources, before.forced_sources)] == [known] * 3
        image = dia_field.exposure(number, ra, dec, flux)
        rows = associate_visit(
            dia_field.standardized(number, ra, dec, flux),
            PreloadedCatalogs(before.objects, before.sources, before.forced_sources, no_ephemerides()),
            image,
            image,
            visit,
            dia_field.schemas,
            Time.now(),
        )
        assert rows.n_updated_objects == known
        assert record.contains([visit.exposure], visit.detector) is False
        write_visit_detector(
            apdb, visit.exposure, visit.detector, Time.now(), rows.objects, rows.sources, rows.forced_sources
        )
        with pytest.raises(AlreadyInApdbError):
            require_not_in_apdb(apdb, visit.exposure, visit.detector)
        assert record.contains([visit.exposure], visit.detector) is True
        assert was_committed(apdb, visit.exposure, visit.detector, 0.0)

    cassandra.server.kill()
    with pytest.raises(RetriableError, match="queried for visit 5"):
        require_not_in_apdb(apdb, 5, 5)
    with pytest.raises(RetriableError, match="NoHostAvailable"):
        load_dia_catalogs(apdb, region, Time.now(), 30.0)
    with pytest.raises(RetriableError, match="cannot be opened"):
        connection.get(LABEL)
    assert record.contains([5], 5) is None
    finding = check_apdb(LABEL)
    assert finding.severity is Severity.PROBLEM
    assert "start the database" in finding.remedy
    check_apdb_version(LABEL)
    assert f"The APDB of {LABEL} cannot be opened" in caplog.text
