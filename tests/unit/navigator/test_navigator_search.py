"""Searches of the APDB use an index, return few rows, and cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kept_night import DETECTORS, EVIL, OBJECT, VISITS, make_apdb, source_id
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError

from prompt_processing.navigator.objects import search
from prompt_processing.navigator.objects.packets import PacketFolder, first_number
from prompt_processing.navigator.objects.search import ApdbReader, Criteria, SearchError, database_of


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("apdb") / "apdb.db"
    make_apdb(path)
    return path


@pytest.fixture
def apdb(database: Path) -> Iterator[ApdbReader]:
    reader = ApdbReader(f"sqlite:///{database}")
    yield reader
    reader.close()


def ids(apdb: ApdbReader, criteria: Criteria) -> set[int]:
    return {int(one) for one in apdb.sources(criteria)["diaSourceId"]}


def test_cone_has_what_is_inside_and_nothing_else(apdb: ApdbReader) -> None:
    near = Criteria(ra=53.001, dec=-28.0, radius=1.0)
    assert ids(apdb, near) == {source_id(visit, detector) for visit in VISITS for detector in DETECTORS}
    # The next source is 4.8 arcsec away, in a neighbouring pixel.
    assert len(ids(apdb, Criteria(ra=53.001, dec=-28.0, radius=4.7))) == 4
    assert len(ids(apdb, Criteria(ra=53.001, dec=-28.0, radius=4.9))) == 8
    assert ids(apdb, Criteria(ra=413.001, dec=-28.0, radius=1.0)) == ids(apdb, near)


@pytest.mark.parametrize(
    ("criteria", "number"),
    [
        (Criteria(visit=VISITS[0]), 6),
        (Criteria(visit=VISITS[0], detector=94), 3),
        (Criteria(object=OBJECT), 2),
        (Criteria(visit=VISITS[0], reliability=0.9), 2),
        (Criteria(visit=VISITS[0], band="r"), 4),
        (Criteria(visit=VISITS[0], band=EVIL), 2),
        (Criteria(visit=VISITS[0], brighter=23.7), 4),
        (Criteria(visit=VISITS[0], kind="positive"), 2),
        (Criteria(visit=VISITS[0], kind="negative"), 2),
        (Criteria(visit=VISITS[0], kind="dipole"), 2),
        (Criteria(visit=VISITS[0], kind="moving"), 0),
        (Criteria(object=OBJECT, since=61191.0005), 1),
        (Criteria(object=OBJECT, until=61190.0), 0),
        (Criteria(visit=VISITS[0], band="' OR 1=1 --"), 0),
    ],
)
def test_criteria_narrow_a_search(apdb: ApdbReader, criteria: Criteria, number: int) -> None:
    assert len(apdb.sources(criteria)) == number


@pytest.mark.parametrize(
    "criteria",
    [Criteria(), Criteria(reliability=0.5, band="r", since=1.0), Criteria(ra=1.0), Criteria(detector=3)],
)
def test_search_without_an_index_is_refused(apdb: ApdbReader, criteria: Criteria) -> None:
    with pytest.raises(SearchError, match="position, an object or a visit"):
        apdb.sources(criteria)


@pytest.mark.parametrize(("dec", "radius"), [(91.0, 1.0), (0.0, 4000.0), (0.0, 0.0), (0.0, -1.0)])
def test_impossible_cone_is_refused(apdb: ApdbReader, dec: float, radius: float) -> None:
    with pytest.raises(SearchError, match="radius"):
        apdb.sources(Criteria(ra=0.0, dec=dec, radius=radius))


def test_every_search_uses_an_index_and_a_limit(apdb: ApdbReader) -> None:
    statements: list[tuple[str, object]] = []

    @event.listens_for(apdb._engine, "before_cursor_execute")
    def record(connection, cursor, statement, parameters, context, many):  # type: ignore[no-untyped-def]
        statements.append((statement, parameters))

    apdb.sources(Criteria(ra=53.0, dec=-28.0, radius=3600.0))
    apdb.sources(Criteria(object=OBJECT))
    apdb.sources(Criteria(visit=VISITS[0], detector=94))
    apdb.source(source_id(VISITS[0], 94))
    apdb.dia_object(OBJECT)
    apdb.forced_sources(OBJECT)
    searches = [one for one in statements if "FROM" in one[0] and "LIMIT" in one[0]]
    assert len(searches) == 6
    with apdb._engine.connect() as connection:
        for statement, parameters in searches:
            plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters).all()
            assert not any(str(row[-1]).startswith("SCAN") for row in plan), plan


def test_no_more_rows_than_the_limit_are_returned(apdb: ApdbReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_ROWS", 5)
    assert len(apdb.sources(Criteria(visit=VISITS[0]))) == 5


def test_apdb_is_opened_to_read_only(apdb: ApdbReader) -> None:
    with apdb._engine.connect() as connection, pytest.raises(OperationalError):
        connection.execute(text('DELETE FROM "DiaSource"'))


def test_database_without_the_tables_is_named_as_the_culprit(tmp_path: Path) -> None:
    create_engine(f"sqlite:///{tmp_path / 'other.db'}").connect().close()
    with pytest.raises(SearchError, match="no table DiaForcedSource, DiaObject, DiaSource"):
        ApdbReader(f"sqlite:///{tmp_path / 'other.db'}").source(1)


def test_configuration_of_an_apdb_names_its_database(tmp_path: Path) -> None:
    config = tmp_path / "apdb.yaml"
    config.write_text("implementation_type: sql\ndb_url: postgresql://db/apdb\nnamespace: prod\n")
    assert database_of(str(config)) == ("postgresql://db/apdb", "prod")
    assert database_of("sqlite:////a.db") == ("sqlite:////a.db", None)
    with pytest.raises(SearchError, match="absent"):
        database_of(str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize("number", [1, -1, 63, 64, 3_476_249_696_626_802_690, -(2**63)])
@pytest.mark.parametrize("frame", [b"", b"\0\0\0\4M"])
def test_first_number_of_a_packet_is_found(number: int, frame: bytes) -> None:
    folded = (number << 1) ^ (number >> 63)
    content = bytearray()
    while True:
        content.append(folded & 0x7F | (0x80 if folded > 0x7F else 0))
        folded >>= 7
        if not folded:
            break
    assert first_number(frame + bytes(content) + b"\1\2\3") == number


@pytest.mark.parametrize("head", [b"", b"\0", b"\xff" * 16, b"\0\0\0\0\0"])
def test_what_is_no_packet_has_no_number(head: bytes) -> None:
    assert first_number(head) is None


def test_folder_that_does_not_exist_has_no_packets(tmp_path: Path) -> None:
    assert PacketFolder(tmp_path / "absent").read(5) is None


def test_damaged_packet_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.avro").write_bytes(b"\x0a\1\2")
    with pytest.raises(OSError, match=r"0\.avro"):
        PacketFolder(tmp_path).read(5)


def test_unknown_class_is_refused(apdb: ApdbReader) -> None:
    with pytest.raises(SearchError, match="one of positive, negative, dipole, moving"):
        apdb.sources(Criteria(visit=VISITS[0], kind="' OR 1=1 --"))
