"""A field seen three times, through the real APDB and the real packets."""

import io
import sqlite3

import fastavro
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from astropy.time import Time
from confluent_kafka import Consumer, Producer, TopicPartition
from connected_tasks import connected
from dia_field import DiaField
from lsst.alert.packet import Schema
from lsst.dax.apdb import Apdb
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d

from prompt_processing.alerts.files import kept_files, read_alerts, underway_files
from prompt_processing.alerts.resending import settle_underway
from prompt_processing.apdb.preloaded_catalogs import load_dia_catalogs
from prompt_processing.apdb.tables import ApdbSchemas
from prompt_processing.apdb.write import AlreadyInApdbError, write_visit_detector
from prompt_processing.association.associate_visit import PreloadedCatalogs, associate_visit
from prompt_processing.association.ephemerides import no_ephemerides
from prompt_processing.domain.errors import NonRetriableError, RetriableError
from prompt_processing.tasks.associate_apdb import AssociateApdbConfig, AssociateApdbTask


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path, apdb_config) -> None:
    monkeypatch.setenv("CONFIG_APDB", apdb_config)
    monkeypatch.setenv("ALERT_KEEP_DIR", str(tmp_path / "kept"))
    for name in ("AP_KAFKA_SERVER", "AP_KAFKA_TOPIC", "AP_KAFKA_PRODUCER_USERNAME"):
        monkeypatch.delenv(name, raising=False)


def _region(dia_field) -> Circle:
    return Circle(UnitVector3d(LonLat.fromDegrees(dia_field.ra0, dia_field.dec0)), Angle.fromDegrees(0.02))


def _inputs(dia_field, apdb: Apdb, number: int, ra, dec, flux, band: str = "r") -> dict:
    time = Time(dia_field.first_mjd + number, format="mjd", scale="tai")
    catalogs = load_dia_catalogs(apdb, _region(dia_field), time, 10.0)
    return {
        "dia_sources": dia_field.standardized(number, ra, dec, flux, band),
        "difference": dia_field.exposure(number, ra, dec, flux, band),
        "science": dia_field.exposure(number, ra, dec, np.asarray(flux) + 1000, band),
        "template": dia_field.exposure(number, band=band),
        "preloaded_objects": catalogs.objects,
        "preloaded_sources": catalogs.sources,
        "preloaded_forced_sources": catalogs.forced_sources,
        "preloaded_ss_objects": no_ephemerides(),
    }


def _process(dia_field, apdb: Apdb, number: int, ra, dec, flux, band: str = "r"):
    task = connected(AssociateApdbTask())
    return task, task.run(**_inputs(dia_field, apdb, number, ra, dec, flux, band))


def _kept_alerts(tmp_path, visit: int) -> dict[int, dict]:
    schema = Schema.from_file().definition
    records = [
        fastavro.schemaless_reader(io.BytesIO(alert.message[5:]), schema)
        for path in kept_files(tmp_path / "kept")
        for alert in read_alerts(path)
        if path.name.startswith(f"{visit}_")
    ]
    return {record["diaSourceId"]: record for record in records}


def _count(tmp_path, table: str, condition: str = "1") -> int:
    with sqlite3.connect(tmp_path / "apdb.db") as connection:
        return connection.execute(f'SELECT count(*) FROM "{table}" WHERE {condition}').fetchone()[0]


def test_third_visit_knows_the_first_two_and_no_object_is_counted_twice(dia_field, apdb, tmp_path) -> None:
    ra, dec = dia_field.grid(9)
    flux = np.linspace(2000, 6000, 9)
    task, _ = _process(dia_field, apdb, 0, ra, dec, flux)
    assert task.metadata["numNewDiaObjects"] == 9
    task, _ = _process(dia_field, apdb, 1, ra, dec, 2 * flux, band="g")
    assert (task.metadata["numNewDiaObjects"], task.metadata["numUpdatedDiaObjects"]) == (0, 9)
    # The third time, two have faded from view and one is new.
    third_ra, third_dec = np.append(ra[2:], dia_field.ra0), np.append(dec[2:], dia_field.dec0 + 0.003)
    task, result = _process(dia_field, apdb, 2, third_ra, third_dec, np.append(flux[2:], 900.0))
    assert (task.metadata["numNewDiaObjects"], task.metadata["numUpdatedDiaObjects"]) == (1, 7)
    assert task.metadata["numDiaSources"] == 8
    assert task.metadata["numForcedSources"] == 10
    assert task.metadata["numAlertsKept"] == 8
    assert task.metadata["numAlertsSent"] == 0
    assert task.metadata["apdbWritten"] is True

    assert _count(tmp_path, "DiaObject", "validityEndMjdTai IS NULL") == 10
    assert _count(tmp_path, "DiaSource") == 26
    assert _count(tmp_path, "DiaForcedSource") == 28

    alerts = _kept_alerts(tmp_path, dia_field.first_visit + 2)
    old = [alert for alert in alerts.values() if alert["prvDiaSources"]]
    assert len(old) == 7
    for alert in old:
        assert [source["visit"] for source in alert["prvDiaSources"]] == [
            dia_field.first_visit,
            dia_field.first_visit + 1,
        ]
        assert [source["band"] for source in alert["prvDiaForcedSources"]] == ["r", "g", "r"]
        summary = alert["diaObject"]
        assert summary["nDiaSources"] == 3
        assert (summary["r_psfFluxNdata"], summary["g_psfFluxNdata"]) == (2, 1)
        assert summary["firstDiaSourceMjdTai"] == dia_field.first_mjd
        assert summary["lastDiaSourceMjdTai"] == dia_field.first_mjd + 2
        assert summary["r_fpFluxMean"] == pytest.approx(alert["diaSource"]["psfFlux"], abs=200)
        assert alert["diaSource"]["diaObjectId"] == summary["diaObjectId"]
    (new,) = (alert for alert in alerts.values() if not alert["prvDiaSources"])
    assert new["diaObject"]["nDiaSources"] == 1
    assert new["diaObject"]["diaObjectId"] == new["diaSourceId"]

    marker = result.marker
    assert (marker["visit"], marker["detector"]) == (dia_field.first_visit + 2, dia_field.detector)


def test_forced_fluxes_follow_a_source_that_is_not_detected_any_more(dia_field, apdb) -> None:
    ra, dec = dia_field.grid(4)
    _process(dia_field, apdb, 0, ra, dec, [3000.0] * 4)
    _, result = _process(dia_field, apdb, 1, ra[:1], dec[:1], [3000.0])
    forced = result.forced_sources.set_index("diaObjectId")["psfFlux"].sort_index()
    assert len(forced) == 4
    assert np.abs(forced.iloc[0] - 3000) < 250
    assert (np.abs(forced.iloc[1:]) < 250).all()
    assert len(result.objects) == 1


def test_what_the_apdb_returns_is_what_was_written(dia_field, apdb) -> None:
    ra, dec = dia_field.grid(6)
    _, result = _process(dia_field, apdb, 0, ra, dec, [3000.0] * 6)
    time = Time(dia_field.first_mjd + 1, format="mjd", scale="tai")
    catalogs = load_dia_catalogs(apdb, _region(dia_field), time, 10.0)
    written = result.associated_sources.sort_values("diaSourceId").reset_index(drop=True)
    read = catalogs.sources.sort_values("diaSourceId").reset_index(drop=True)
    pd.testing.assert_frame_equal(read, written, check_exact=False, rtol=1e-6)
    pd.testing.assert_frame_equal(
        catalogs.objects.sort_values("diaObjectId").reset_index(drop=True),
        result.objects.sort_values("diaObjectId").reset_index(drop=True),
        rtol=1e-6,
    )


def test_visit_is_never_written_twice(dia_field, apdb, tmp_path) -> None:
    ra, dec = dia_field.grid(4)
    inputs = _inputs(dia_field, apdb, 0, ra, dec, [3000.0] * 4)
    connected(AssociateApdbTask()).run(**inputs)
    before = {table: _count(tmp_path, table) for table in ("DiaObject", "DiaSource", "DiaForcedSource")}
    with pytest.raises(AlreadyInApdbError) as caught:
        connected(AssociateApdbTask()).run(**inputs)
    assert caught.value.retry == "unsafe"
    assert str(dia_field.first_visit) in caught.value.reason
    assert before == {table: _count(tmp_path, table) for table in before}


def test_of_two_writers_at_once_one_is_refused_and_nothing_is_mixed(
    dia_field, apdb, tmp_path, monkeypatch
) -> None:
    ra, dec = dia_field.grid(4)
    inputs = _inputs(dia_field, apdb, 0, ra, dec, [3000.0] * 4)
    result = connected(AssociateApdbTask()).run(**inputs)
    answers = iter([False, True])
    monkeypatch.setattr(apdb, "containsVisitDetector", lambda *_: next(answers))
    with pytest.raises(AlreadyInApdbError):
        write_visit_detector(
            apdb,
            dia_field.first_visit,
            dia_field.detector,
            Time.now(),
            result.objects,
            result.associated_sources,
            result.forced_sources,
        )
    assert _count(tmp_path, "DiaObject") == 4
    assert _count(tmp_path, "DiaSource") == 4


def test_visit_with_nothing_to_say_is_not_an_error(dia_field, apdb, tmp_path) -> None:
    task, result = _process(dia_field, apdb, 0, [], [], [])
    assert task.metadata["apdbWritten"] is False
    assert task.metadata["numAlertsKept"] == 0
    assert result.marker["numDiaSources"] == 0
    assert len(result.associated_sources.columns) == len(ApdbSchemas.of(apdb).dia_source.columns)
    assert _count(tmp_path, "DiaSource") == 0


def test_failed_write_leaves_nothing_behind(dia_field, apdb, tmp_path) -> None:
    ra, dec = dia_field.grid(2)
    inputs = _inputs(dia_field, apdb, 0, ra, dec, [3000.0] * 2)
    with sqlite3.connect(tmp_path / "apdb.db") as connection:
        connection.execute(
            'CREATE TRIGGER full BEFORE INSERT ON "DiaForcedSource" '
            "BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
        )
    with pytest.raises(NonRetriableError, match="disk is full"):
        connected(AssociateApdbTask()).run(**inputs)
    # All or nothing: the objects and sources of the failed transaction are gone too.
    assert _count(tmp_path, "DiaObject") == 0
    assert _count(tmp_path, "DiaSource") == 0


def test_read_only_apdb_may_be_tried_again(dia_field, apdb, tmp_path, monkeypatch) -> None:
    inputs = _inputs(dia_field, apdb, 0, *dia_field.grid(2), [3000.0] * 2)
    config = (tmp_path / "apdb.yaml").read_text().replace("mode=rw", "mode=ro")
    (tmp_path / "read_only.yaml").write_text(config)
    monkeypatch.setenv("CONFIG_APDB", str(tmp_path / "read_only.yaml"))
    with pytest.raises(RetriableError, match="readonly"):
        connected(AssociateApdbTask()).run(**inputs)
    assert list((tmp_path / "kept").iterdir()) == []


def test_database_that_stays_locked_may_be_tried_again(dia_field, apdb, apdb_config, tmp_path) -> None:
    inputs = _inputs(dia_field, apdb, 0, *dia_field.grid(2), [3000.0] * 2)
    with open(apdb_config, "a") as config:
        config.write("connection_config: {connection_timeout: 0.2}\n")
    writer = sqlite3.connect(tmp_path / "apdb.db")
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(RetriableError, match="locked"):
        connected(AssociateApdbTask()).run(**inputs)
    writer.rollback()
    writer.close()
    assert connected(AssociateApdbTask()).run(**inputs).marker["apdbWritten"] is True


def test_missing_apdb_is_named(dia_field, apdb, tmp_path, monkeypatch) -> None:
    inputs = _inputs(dia_field, apdb, 0, *dia_field.grid(1), [3000.0])
    monkeypatch.setenv("CONFIG_APDB", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(RetriableError, match=r"nowhere\.yaml"):
        connected(AssociateApdbTask()).run(**inputs)
    monkeypatch.delenv("CONFIG_APDB")
    with pytest.raises(NonRetriableError, match="CONFIG_APDB"):
        connected(AssociateApdbTask()).run(**inputs)


def test_alerts_are_on_the_disk_before_the_write_and_leave_with_it(
    dia_field, apdb, tmp_path, monkeypatch
) -> None:
    """A worker that is killed after the commit has left what another needs, and a refused write nothing."""
    inputs = _inputs(dia_field, apdb, 0, *dia_field.grid(4), [3000.0] * 4)
    task = connected(AssociateApdbTask())
    result = task.write(**inputs)
    assert [len(file) for file in [result.alert_file]] == [4]
    assert result.alert_file.path in underway_files(tmp_path / "kept")
    # As long as the worker lives they are its own.
    settle_underway(tmp_path / "kept", lambda: apdb)
    assert kept_files(tmp_path / "kept") == []
    result.alert_file.release()
    settle_underway(tmp_path / "kept", lambda: apdb)
    assert len(_kept_alerts(tmp_path, dia_field.first_visit)) == 4
    with pytest.raises(AlreadyInApdbError):
        connected(AssociateApdbTask()).write(**inputs)
    assert underway_files(tmp_path / "kept") == []


def test_own_write_of_an_attempt_that_died_counts_as_done_where_no_alerts_are_sent(
    dia_field, apdb, tmp_path
) -> None:
    inputs = _inputs(dia_field, apdb, 0, *dia_field.grid(4), [3000.0] * 4)
    config = AssociateApdbConfig()
    config.continue_writes, config.produce_alerts = True, False
    first, second = (connected(AssociateApdbTask(config=config)).run(**inputs) for _ in range(2))
    assert second.marker["apdbWritten"] is first.marker["apdbWritten"] is True
    columns = ["diaSourceId", "diaObjectId", "ra", "dec", "psfFlux"]
    assert second.associated_sources[columns].equals(first.associated_sources[columns])
    # Those of another measurement are another write.
    inputs["dia_sources"]["timeProcessedMjdTai"] += 1e-6
    with pytest.raises(AlreadyInApdbError):
        connected(AssociateApdbTask(config=config)).run(**inputs)
    # What was alerted is not repeated.
    config.produce_alerts = True
    inputs["dia_sources"]["timeProcessedMjdTai"] -= 1e-6
    with pytest.raises(AlreadyInApdbError):
        connected(AssociateApdbTask(config=config)).run(**inputs)


def test_alerts_of_another_write_of_the_visit_are_not_sent(dia_field, apdb, tmp_path, monkeypatch) -> None:
    """One worker was killed before its commit, and another has processed the visit since."""
    first = _inputs(dia_field, apdb, 0, *dia_field.grid(4), [3000.0] * 4)
    second = _inputs(dia_field, apdb, 0, *dia_field.grid(4), [3000.0] * 4)
    second["dia_sources"]["timeProcessedMjdTai"] += 1e-6

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("prompt_processing.tasks.associate_apdb.write_visit_detector", dies)
        with pytest.raises(KeyboardInterrupt):
            connected(AssociateApdbTask()).write(**first)
    assert len(underway_files(tmp_path / "kept")) == 1
    connected(AssociateApdbTask()).write(**second).alert_file.remove()
    settle_underway(tmp_path / "kept", lambda: apdb)
    assert list((tmp_path / "kept").iterdir()) == []


def test_alerts_reach_a_broker_and_decode_independently(dia_field, apdb, tmp_path, monkeypatch) -> None:
    host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    server = ",".join(f"{b.host}:{b.port}" for b in host.list_topics(timeout=10).brokers.values())
    monkeypatch.setenv("AP_KAFKA_SERVER", server)
    monkeypatch.setenv("AP_KAFKA_TOPIC", "alerts")
    ra, dec = dia_field.grid(4)
    task, _ = _process(dia_field, apdb, 0, ra, dec, [3000.0] * 4)
    assert (task.metadata["numAlertsSent"], task.metadata["numAlertsKept"]) == (4, 0)
    assert task.metadata["alertsLastAckUnix"] > 1.7e9
    consumer = Consumer({"bootstrap.servers": server, "group.id": "t"})
    partitions = consumer.list_topics("alerts", timeout=10).topics["alerts"].partitions
    consumer.assign([TopicPartition("alerts", number, 0) for number in partitions])
    messages = [consumer.poll(10) for _ in range(4)]
    consumer.close()
    for message in messages:
        assert message.value()[:5] == b"\x00\x00\x00\x04\x4d"
        record = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), Schema.from_file().definition)
        assert record["diaSource"]["visit"] == dia_field.first_visit


def test_preload_holds_the_region_with_its_margin_and_nothing_else(dia_field, apdb) -> None:
    ra, dec = dia_field.grid(4)
    _process(dia_field, apdb, 0, ra, dec, [3000.0] * 4)
    first = UnitVector3d(LonLat.fromDegrees(ra[0] % 360, dec[0]))
    tiny = Circle(first, Angle.fromDegrees(1 / 3600))
    time = Time(dia_field.first_mjd + 1, format="mjd", scale="tai")
    near = load_dia_catalogs(apdb, tiny, time, 5.0)
    assert len(near.objects) == len(near.sources) == len(near.forced_sources) == 1
    assert len(load_dia_catalogs(apdb, tiny, time, 120.0).objects) == 4
    long_after = Time(dia_field.first_mjd + 400, format="mjd", scale="tai")
    without = load_dia_catalogs(apdb, tiny, time, 0.0, forced_sources=False)
    assert (len(without.sources), len(without.forced_sources)) == (1, 0)
    assert without.forced_sources.dtypes.equals(near.forced_sources.dtypes)
    late = load_dia_catalogs(apdb, tiny, long_after, 120.0)
    assert (len(late.objects), len(late.sources), len(late.forced_sources)) == (4, 0, 0)
    # The count goes on although the history is out of reach.
    assert late.objects["nDiaSources"].tolist() == [1] * 4


def test_forced_photometry_can_be_left_out(dia_field: DiaField) -> None:
    ra, dec = dia_field.grid(4)
    image = dia_field.exposure(0, ra, dec, [5000.0] * 4)
    empty = (dia_field.schemas.dia_object, dia_field.schemas.dia_source, dia_field.schemas.dia_forced_source)
    preloaded = PreloadedCatalogs(*(table.empty() for table in empty), Table())
    found = [
        associate_visit(
            dia_field.standardized(0, ra, dec, [5000.0] * 4),
            preloaded,
            image,
            image,
            dia_field.visit_info(0),
            dia_field.schemas,
            Time.now(),
            forced_photometry=forced,
        )
        for forced in (True, False)
    ]
    assert [len(one.forced_sources) for one in found] == [4, 0]
    assert found[1].forced_sources.dtypes.equals(found[0].forced_sources.dtypes)
    assert found[1].alert_content().forced_history.empty
