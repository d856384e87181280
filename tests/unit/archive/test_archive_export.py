"""A night is archived once, verified, repaired and added to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apdb_rows
import fastavro
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_packets import encode
from astropy.time import Time, TimeDelta
from lsst.dax.apdb import Apdb
from lsst.dax.apdb.sql import ApdbSql

from prompt_processing.alerts.reading import AlertReader, FoundAlert, UnreadableAlertError
from prompt_processing.apdb.administration import OtherDatabaseError
from prompt_processing.archive.alerts import archived_alert
from prompt_processing.archive.apdb_rows import ApdbRows
from prompt_processing.archive.errors import ArchiveError
from prompt_processing.archive.export import check_night, export_night, preview_export
from prompt_processing.archive.light_curves import nested, write_cells
from prompt_processing.archive.manifest import NightManifest
from prompt_processing.archive.nights import NightInterval

NIGHT = NightInterval.of("2026-11-20")
NEXT_NIGHT = NightInterval.of("2026-11-21")
LATER = Time("2026-11-22T03:00:00", scale="tai")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An APDB to copy from: creating its tables takes a second."""
    folder = tmp_path_factory.mktemp("pristine")
    ApdbSql.init_database(db_url=f"sqlite:///{folder / 'apdb.db'}").save(str(folder / "apdb.yaml"))
    opened = Apdb.from_uri(str(folder / "apdb.yaml"))
    apdb_rows.write(opened, 7, 10, 100)
    apdb_rows.write(opened, 7, 11, 200)
    return folder


@pytest.fixture
def apdb(pristine: Path, tmp_path: Path) -> Apdb:
    shutil.copy(pristine / "apdb.db", tmp_path)
    config = (pristine / "apdb.yaml").read_text().replace(str(pristine), str(tmp_path))
    (tmp_path / "apdb.yaml").write_text(config)
    return Apdb.from_uri(str(tmp_path / "apdb.yaml"))


def table(root: Path, name: str, night: NightInterval = NIGHT) -> pd.DataFrame:
    files = NightManifest.read(root, night.day_obs).of_table(name)
    return pd.concat([pd.read_parquet(root / file.file, partitioning=None) for file in files])


def alerts(*ids: int, mjd: float = NIGHT.begin + 0.2, visit: int = 7) -> Iterator[FoundAlert]:
    for one in ids:
        content, schema = AlertReader().with_schema(encode(one))
        content["diaSource"] |= {"midpointMjdTai": mjd, "visit": visit, "detector": 10}
        yield FoundAlert(f"alert {one}", content, schema)


def test_tables_of_night_have_all_its_rows_and_types(apdb: Apdb, tmp_path: Path) -> None:
    apdb_rows.write(apdb, 9, 10, 300, processed=LATER)
    report = export_night(tmp_path / "a", NIGHT, apdb, hats=False)
    assert report.new == {"DiaSource": 6, "DiaForcedSource": 6, "DiaObject": 6, "SSSource": 0, "SSObject": 0}
    assert report.problems == []
    sources = table(tmp_path / "a", "DiaSource")
    assert sources["diaSourceId"].tolist() == [100, 101, 102, 200, 201, 202]
    assert set(sources["detector"]) == {10, 11}
    file = NightManifest.read(tmp_path / "a", NIGHT.day_obs).of_table("DiaSource")[0]
    types = pq.read_schema(tmp_path / "a" / file.file)
    # Also of columns without any value.
    assert types.field("ssObjectId").type == pa.int64()
    assert types.field("band").type == pa.string()
    assert "pixelId" not in types.names


def test_repeated_export_adds_only_what_was_processed_since(apdb: Apdb, tmp_path: Path) -> None:
    root = tmp_path / "a"
    export_night(root, NIGHT, apdb, hats=False)
    first = NightManifest.read(root, NIGHT.day_obs)
    again = export_night(root, NIGHT, apdb, hats=False)
    assert again.new == {}
    assert NightManifest.read(root, NIGHT.day_obs) == first
    # A visit-detector that was late, with new sources of known objects.
    late_at = apdb_rows.PROCESSED + TimeDelta(600, format="sec")
    apdb_rows.write(apdb, 7, 12, 400, first_object=100, processed=late_at)
    assert preview_export(root, NIGHT, apdb).visits == 1
    late = export_night(root, NIGHT, apdb, hats=False)
    assert late.new["DiaSource"] == 3
    assert late.rows["DiaSource"] == 9
    assert late.problems == []
    assert NightManifest.read(root, NIGHT.day_obs).files[: len(first.files)] == first.files


@pytest.mark.parametrize("harm", ["truncated", "changed", "missing"])
def test_damaged_file_is_noticed_and_copied_again(apdb: Apdb, tmp_path: Path, harm: str) -> None:
    root = tmp_path / "a"
    export_night(root, NIGHT, apdb, hats=False)
    path = root / NightManifest.read(root, NIGHT.day_obs).of_table("DiaSource")[0].file
    content = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-7] if harm == "truncated" else content[:99] + b"x" + content[100:])
    problems = check_night(root, NIGHT)
    assert [one.what for one in problems] == [path.relative_to(root).as_posix()]
    report = export_night(root, NIGHT, apdb, hats=False)
    assert [one.what for one in report.repaired] == [path.relative_to(root).as_posix()]
    assert report.problems == []
    assert len(table(root, "DiaSource")) == 6


def test_damaged_file_is_not_given_up_when_the_apdb_has_lost_its_rows(apdb: Apdb, tmp_path: Path) -> None:
    root = tmp_path / "a"
    export_night(root, NIGHT, apdb, hats=False)
    before = NightManifest.read(root, NIGHT.day_obs)
    path = root / before.of_table("DiaObject")[0].file
    path.write_bytes(b"")
    assert isinstance(apdb, ApdbSql)
    ApdbSql.init_database(db_url=apdb.config.db_url, drop=True)
    with pytest.raises(ArchiveError, match="restore the file"):
        export_night(root, NIGHT, apdb, hats=False)
    assert NightManifest.read(root, NIGHT.day_obs) == before


def test_rows_that_the_apdb_lost_are_a_problem(apdb: Apdb, tmp_path: Path) -> None:
    root = tmp_path / "a"
    export_night(root, NIGHT, apdb, hats=False)
    assert isinstance(apdb, ApdbSql)
    ApdbSql.init_database(db_url=apdb.config.db_url, drop=True)
    apdb_rows.write(apdb, 7, 10, 100)
    problems = export_night(root, NIGHT, apdb, hats=False).problems
    assert [str(one) for one in problems] == [
        "visit 7, detector 11: 3 DiaSources and 3 DiaForcedSources in the archive, 0 and 0 in the APDB"
    ]


def test_another_apdb_does_not_mix_with_the_archive(apdb: Apdb, tmp_path: Path) -> None:
    export_night(tmp_path / "a", NIGHT, apdb, hats=False)
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path / 'other.db'}").save(str(tmp_path / "other.yaml"))
    with pytest.raises(ArchiveError, match="another archive"):
        export_night(tmp_path / "a", NIGHT, Apdb.from_uri(str(tmp_path / "other.yaml")), hats=False)


def test_apdb_that_is_not_sql_is_refused() -> None:
    with pytest.raises(OtherDatabaseError, match="lsst-dax-ppdb"):
        ApdbRows(object())  # type: ignore[arg-type]


def test_night_begins_when_its_camera_says_so() -> None:
    assert NightInterval.of("2026-11-20").begin == 61364.5
    assert NightInterval.of("2026-11-20", "LSSTCam").begin == 61364.5
    # In Hawaii a night is within one day of UTC.
    assert NightInterval.of("2026-11-20", "HSC").begin == 61364.0


def test_alerts_are_archived_once_with_index(apdb: Apdb, tmp_path: Path) -> None:
    root = tmp_path / "a"
    other = alerts(9, mjd=NEXT_NIGHT.begin + 0.1)
    broken = FoundAlert("x", UnreadableAlertError("x: not an alert"))
    given = [*alerts(100, 101), *other, broken]
    counts = export_night(root, NIGHT, apdb, given, hats=False).alerts
    assert counts is not None
    assert (counts.new, counts.known, counts.other_nights) == (2, 0, 1)
    assert counts.unreadable == ["x: not an alert"]
    report = export_night(root, NIGHT, apdb, alerts(101, 102), hats=False)
    assert report.alerts is not None
    assert (report.alerts.new, report.alerts.known) == (1, 1)
    assert report.problems == []
    index = table(root, "alert_index").set_index("diaSourceId")
    assert index.index.tolist() == [100, 101, 102]
    for source_id in index.index:
        assert archived_alert(root, NIGHT.day_obs, source_id)["diaSourceId"] == source_id
    with (root / index["file"][100]).open("rb") as file:
        assert [one["diaSourceId"] for one in fastavro.reader(file)] == [100, 101]  # type: ignore[call-overload]
    with pytest.raises(ArchiveError, match="no alert"):
        archived_alert(root, NIGHT.day_obs, 9)


def test_damaged_alert_file_is_replaced_by_alerts_that_are_there(apdb: Apdb, tmp_path: Path) -> None:
    root = tmp_path / "a"
    export_night(root, NIGHT, apdb, [*alerts(100), *alerts(101, visit=8)], hats=False)
    damaged = root / table(root, "alert_index").set_index("diaSourceId")["file"][100]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    report = export_night(root, NIGHT, apdb, alerts(100, 101), hats=False)
    assert report.alerts is not None
    assert (report.alerts.new, report.alerts.known) == (1, 1)
    assert report.problems == []
    assert archived_alert(root, NIGHT.day_obs, 100)["diaSourceId"] == 100


def light_curve(ids: list[int | None], times: list[float], **columns: Any) -> pa.Table:
    return pa.table({"diaObjectId": pa.array(ids, pa.int64()), "midpointMjdTai": times, **columns})


def test_light_curves_are_joined_by_object_in_order_of_time() -> None:
    objects = pa.table({"diaObjectId": [5, 3, 4]})
    rows = light_curve([3, 5, 3, None, 8], [2.0, 1.0, 1.5, 0.0, 0.0], flux=[20.0, 10.0, 15.0, -1.0, -2.0])
    joined = nested(objects, diaSource=rows)
    assert joined["diaObjectId"].to_pylist() == [5, 3, 4]
    assert joined["diaSource"].to_pylist() == [
        {"midpointMjdTai": [1.0], "flux": [10.0]},
        {"midpointMjdTai": [1.5, 2.0], "flux": [15.0, 20.0]},
        {"midpointMjdTai": [], "flux": []},
    ]


def test_cells_have_latest_version_of_each_object(tmp_path: Path) -> None:
    def objects(name: str, ids: list[int], start: float, ra: float) -> Path:
        columns = {"diaObjectId": ids, "validityStartMjdTai": [start] * len(ids), "n": [start] * len(ids)}
        pq.write_table(pa.table({**columns, "ra": [ra] * len(ids), "dec": [0.0] * len(ids)}), tmp_path / name)
        return tmp_path / name

    pq.write_table(light_curve([1, 2, 2], [1.0, 2.0, 1.0]), tmp_path / "s")
    folder = tmp_path / "cells"
    folder.mkdir()
    files = [objects("new", [2, 3], 9.0, 200.0), objects("old", [1, 2], 4.0, 10.0)]
    cells = write_cells(folder, files, [tmp_path / "s"], [])
    found = pa.concat_tables([pq.read_table(path) for path in cells]).sort_by("diaObjectId")
    assert found["diaObjectId"].to_pylist() == [1, 2, 3]
    assert found["n"].to_pylist() == [4.0, 9.0, 9.0]
    assert [len(one["midpointMjdTai"]) for one in found["diaSource"].to_pylist()] == [1, 2, 0]
